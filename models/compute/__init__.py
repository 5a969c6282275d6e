"""Where and how numbers are computed: device, precision, fast kernels, several processes."""
