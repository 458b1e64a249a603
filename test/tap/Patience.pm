# Waiting for a server that may be starting anew.  (poll_query_until writes its
# query to psql, and dies with a broken pipe when psql has ended before it reads.)
package Patience;

use strict;
use warnings;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(sleep);

# until the query answers "t"; false when it never did
sub until_true
{
	my ($node, $db, $query) = @_;
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		my ($out, $err) = ('', '');
		IPC::Run::run([ 'psql', '-XqAt', '-d', $node->connstr($db), '-c', $query ], '<', '/dev/null', '>', \$out, '2>', \$err);
		chomp $out;
		return 1 if $out eq 't';
		sleep(0.1);
	}
	return 0;
}

1;
