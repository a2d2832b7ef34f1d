/*++
/* NAME
/*	launch 3
/* SUMMARY
/*	start of Node.js without Perl
/* SYNOPSIS
/*	node --jitless launch.js node flag ... program argument ...
/* DESCRIPTION
/*	Does the same as launch.pl, and executes Node.js with the same
/*	process ID. The supervisor uses it without Perl. Starting Node.js
/*	twice takes twice as long, and a client waits.
/*
/*	This program runs without the JIT compiler (--jitless), because it
/*	examines whether the host permits that.
/* DIAGNOSTICS
/*	If Node.js cannot be executed, the process aborts. Everything else
/*	that is tried here may fail.
/* SEE ALSO
/*	launch.pl, seccomp(3), syscall-filter(3), prctl(2)
/*--*/

import type {Fd} from '../base/units.ts';
import {
	alarm,
	clearCloseOnExec,
	MAP_ANONYMOUS,
	MAP_FAILED,
	MAP_PRIVATE,
	mmap,
	mprotect,
	munmap,
	PR_SET_NO_NEW_PRIVS,
	PROT_EXEC,
	PROT_READ,
	PROT_WRITE,
	prctl,
} from '../ffi/libc/libc.ts';
import {assemble, SECCOMP_RET_ALLOW} from '../sandbox/bpf.ts';
import {type FilterScope, filterThread, isFiltered, trySeccomp} from '../sandbox/seccomp.ts';
import {launcherRules} from '../sandbox/syscall-filter.ts';
import {hostArchitecture} from '../sandbox/syscalls.ts';

/** Turns off the JIT compiler. */
const JITLESS = '--jitless';

/** Set in the child process that may be killed by the filter. */
const TRIAL = 'TLSPROXY_TRIAL';

const arch = hostArchitecture();
if (process.env[TRIAL] !== undefined) {
	process.exit(arch !== undefined && trySeccomp(arch) ? 0 : 1);
}

/** Until the worker replaces the alarm by a watchdog. In seconds; see launch.pl. */
const START_LIMIT = 100;

const [node = '', ...args] = process.argv.slice(2);
alarm(START_LIMIT);
const flags = canWriteAndExecute() ? [] : [JITLESS];
const scope: FilterScope = isFiltered() && !seccompIsAllowed() ? 'thread' : 'process';
refuseIoUring();
inheritDescriptors();
process.execve?.(node, [node, ...flags, ...args], {...process.env, TLSPROXY_SECCOMP: scope});

/* Like V8: PROT_EXEC is added to existing memory. */
function canWriteAndExecute(): boolean {
	const size = 4096;
	const page = mmap(null, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page === MAP_FAILED) {
		return false;
	}

	const can = mprotect(page, size, PROT_READ | PROT_WRITE | PROT_EXEC) === 0;
	munmap(page, size);
	return can;
}

function seccompIsAllowed(): boolean {
	/* Rarely needed. */
	const {spawnSync} = process.getBuiltinModule('node:child_process');
	const {status} = spawnSync(process.execPath, [JITLESS, import.meta.filename], {
		env: {...process.env, [TRIAL]: 'seccomp'},
		stdio: 'ignore',
	});
	return status === 0;
}

/* no_new_privs is only needed without CAP_SYS_ADMIN. */
function refuseIoUring(): void {
	if (arch === undefined) {
		return;
	}

	const filter = assemble(arch, launcherRules(), SECCOMP_RET_ALLOW);
	if (filterThread(filter) !== undefined && prctl(PR_SET_NO_NEW_PRIVS, 1n, 0n, 0n, 0n) === 0) {
		filterThread(filter);
	}
}

/*
 * Node.js sets close-on-exec for all descriptors that it has inherited. The supervisor names
 * the descriptors that the worker needs.
 */
function inheritDescriptors(): void {
	for (const fd of process.env['TLSPROXY_INHERITED']?.split(' ') ?? []) {
		clearCloseOnExec(Number(fd) as Fd);
	}
}
