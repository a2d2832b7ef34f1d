#!/bin/sh
#++
# NAME
#	prefetch-config 3
# SUMMARY
#	prints the configuration for a worker that is starting
# DESCRIPTION
#	Prints, while Node.js starts, the output of postconf(1), "postconf
#	-M" and "postconf -P", each followed by a null byte if the command
#	has succeeded. If the output is incomplete, the worker ignores it
#	and executes the commands itself.
# SEE ALSO
#	postconf-output(3), supervisor.pl
#--

for postconf in /usr/sbin/postconf /usr/local/sbin/postconf; do
	if test -x "$postconf"; then
		for what in '' -M -P; do
			"$postconf" ${MAIL_CONFIG:+-c "$MAIL_CONFIG"} $what && printf '\0' || exit
		done
		exit
	fi
done
