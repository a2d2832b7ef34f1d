#!/bin/sh
#++
# NAME
#	offer 3
# SUMMARY
#	prints the configuration, for a worker that is being started
# DESCRIPTION
#	What the worker asks for first, printed while Node.js starts: the
#	output of postconf(1), of "postconf -M" and of "postconf -P", each
#	with a null byte behind it when the command has succeeded. The
#	worker uses all of it or nothing, and then runs the commands itself.
# SEE ALSO
#	postconf-output(3), supervisor.sh
#--

for postconf in /usr/sbin/postconf /usr/local/sbin/postconf; do
	if test -x "$postconf"; then
		for what in '' -M -P; do
			"$postconf" ${MAIL_CONFIG:+-c "$MAIL_CONFIG"} $what && printf '\0' || exit
		done
		exit
	fi
done
