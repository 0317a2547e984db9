"""Files and folders that appear whole, SQLite files, Ctrl-C held back, what is kept between runs."""
