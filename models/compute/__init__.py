"""Where and how numbers are computed: the device, its precision, fast kernels."""
