# A file of SQL as a text of C.
1i static const char postgresql_sql[] =
s/\\/\\\\/g
s/"/\\"/g
s/.*/"&\\n"/
$a ;
