"""The errors of the data package.

ValueError
└── DataError            a data set cannot be used; `.findings` lists every reason
"""
