"""The service around studies: submissions of many users, a runner, REST and a web page.

It knows nothing of torch: data sets are checked and studies run in processes of their own.
"""
