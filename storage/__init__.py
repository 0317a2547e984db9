"""Files that appear whole, SQLite files, Ctrl-C held back, and what is kept between runs."""
