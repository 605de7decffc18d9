"""The engine of MariaDB and MySQL; `mariadb` and `mysql` have what differs."""
