//! What is: inventories folded from the log into an embedded SQL database, and the queries over them.
