#++
# NAME
#	launch 1
# SUMMARY
#	start of Node.js, in Perl
# SYNOPSIS
#	perl launch.pl node flag ... program argument ...
# DESCRIPTION
#	Detects restrictions of the host that cannot be examined when
#	Node.js is running, and executes Node.js. Process ID, descriptors
#	and arguments do not change. The supervisor executes this file in a
#	child process, without starting Perl again. launch(3) does the same
#	without Perl, but takes as long as the rest of a start.
#
#	If memory must not be writable and executable (MemoryDenyWrite-
#	Execute of systemd.exec(5), SELinux), V8 aborts when it starts. This
#	program tries that, and turns off the JIT compiler if it fails.
#
#	io_uring makes system calls that no filter sees, and libuv sets it
#	up when it starts. Therefore it is refused.
#
#	The filter of a service manager may kill a process that calls
#	seccomp(2). If a filter is active, a child process tries the call.
#	If the call is not permitted, the filter of the worker covers the
#	main thread only.
#
#	An alarm of 100 seconds limits the start of Node.js. Unlike a signal
#	handler, it survives exec(2). The worker replaces it first of all:
#	see watchdog(3).
# DIAGNOSTICS
#	If Node.js cannot be executed, a message on standard error and exit
#	status 127. Everything else that is tried here may fail.
# BUGS
#	When a process is stopped while Node.js starts, and for longer than
#	100 seconds, the alarm ends it.
# SEE ALSO
#	launch(3), watchdog(3), prctl(2), seccomp(2)
#--

use strict;
use Config;

# Ten times what one command of Postfix may take, and the default of
# tlsproxy_watchdog_timeout.
alarm 100;

# Numbers of system calls, and that of the architecture in filters.
my ($mmap, $mprotect, $prctl, $seccomp, $architecture) =
    $Config{archname} =~ /^x86_64-/  ? (9, 10, 157, 317, 0xc000003e)
  : $Config{archname} =~ /^aarch64-/ ? (222, 226, 167, 277, 0xc00000b7)
  :                                    ();

my ($node, @arguments) = @ARGV;
$ENV{TLSPROXY_SECCOMP} = 'process';
if (defined $prctl) {
    unshift @arguments, '--jitless' unless can_write_and_execute();
    $ENV{TLSPROXY_SECCOMP} = 'thread' if is_filtered() && !seccomp_is_allowed();
    refuse_io_uring();
}

exec {$node} $node, @arguments;
print STDERR "cannot execute $node: $!\n";
exit 127;

# Like V8: PROT_EXEC is added to existing memory.
sub can_write_and_execute {
    my ($address, $size) = (0x10000000, 65536);
    my ($read_write, $and_execute) = (3, 7);
    my $private_anonymous_fixed = 0x100022;
    syscall($mmap, $address, $size, $read_write, $private_anonymous_fixed, -1, 0);
    return syscall($mprotect, $address, $size, $and_execute) == 0;
}

sub is_filtered {
    my ($get_seccomp, $by_filter) = (21, 2);
    return syscall($prctl, $get_seccomp, 0, 0, 0, 0) == $by_filter;
}

# SECCOMP_GET_ACTION_AVAIL has no effect.
sub seccomp_is_allowed {
    my $child = fork;
    return 0 unless defined $child;
    if ($child == 0) {
        my ($get_action_avail, $allow) = (2, pack('L', 0x7fff0000));
        exit(syscall($seccomp, $get_action_avail, 0, $allow) == 0 ? 0 : 1);
    }

    waitpid $child, 0;
    return $? == 0;
}

# no_new_privs is only needed without CAP_SYS_ADMIN.
sub refuse_io_uring {
    my ($io_uring_setup, $enosys) = (425, 38);
    my ($load, $equal, $return) = (0x20, 0x15, 0x06);
    my ($number_at, $architecture_at) = (0, 4);
    my ($allow, $fail) = (0x7fff0000, 0x00050000);
    my $filter = pack '(SCCL)6',
        $load,   0, 0, $architecture_at,
        $equal,  0, 3, $architecture,
        $load,   0, 0, $number_at,
        $equal,  0, 1, $io_uring_setup,
        $return, 0, 0, $fail | $enosys,
        $return, 0, 0, $allow;
    my $program = pack 'S x![P] P', 6, $filter;
    my ($set_seccomp, $by_filter, $no_new_privs) = (22, 2, 38);
    syscall($prctl, $set_seccomp, $by_filter, $program, 0, 0) == 0
        or syscall($prctl, $no_new_privs, 1, 0, 0, 0) == 0
        && syscall($prctl, $set_seccomp, $by_filter, $program, 0, 0);
}
