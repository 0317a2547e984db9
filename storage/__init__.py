"""Files that appear whole, SQLite files, and what is kept between runs."""
