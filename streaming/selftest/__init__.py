"""A test that proxies pass a stream on undamaged, for `manage.py check_streaming`.

`plan` makes the test stream, `measure` reads it as a client does, and `findings` judges
the result. The test calls no model and reads no database. It requires the server's
secret key, so that other clients cannot start it.
"""
