"""Whether a stream survives the way from here to its clients: a stream made to measure
by (`plan`), what a client sees of it (`measure`), and what that means (`findings`).

It asks no model and reads no database. Only who has the server's secret key can ask
for it, so that it is open to no one else.
"""
