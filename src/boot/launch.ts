/*++
/* NAME
/*	launch 3
/* SUMMARY
/*	start of the worker, as its host allows, without Perl
/* SYNOPSIS
/*	node --jitless launch.js node flag ... program argument ...
/* DESCRIPTION
/*	Does what launch.pl does, and becomes the worker as that does. The
/*	supervisor uses it where there is no Perl. To start Node.js twice
/*	takes twice as long, and a client waits for that.
/*
/*	This program runs without machine code of its own (--jitless): it
/*	finds out whether there may be any.
/* DIAGNOSTICS
/*	None: nothing that is tried here has to succeed, and a program
/*	that cannot be started is one whose supervisor gets no word.
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

/** V8 makes no machine code. */
const JITLESS = '--jitless';

/** Set in the process that tries what may kill it. */
const TRIAL = 'TLSPROXY_TRIAL';

const arch = hostArchitecture();
if (process.env[TRIAL] !== undefined) {
	process.exit(arch !== undefined && trySeccomp(arch) ? 0 : 1);
}

/** Until the worker replaces it by a watchdog. In seconds; see launch.pl. */
const START_LIMIT = 100;

const [node = '', ...words] = process.argv.slice(2);
alarm(START_LIMIT);
const flags = canWriteAndExecute() ? [] : [JITLESS];
const reach: FilterScope = isFiltered() && !seccompIsAllowed() ? 'thread' : 'process';
refuseUnseenCalls();
keepDescriptors();
process.execve?.(node, [node, ...flags, ...words], {...process.env, TLSPROXY_SECCOMP: reach});

/* The way V8 does it: memory first, the right to execute it later. */
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
	/* Hardly ever needed. */
	const {spawnSync} = process.getBuiltinModule('node:child_process');
	const {status} = spawnSync(process.execPath, [JITLESS, import.meta.filename], {
		env: {...process.env, [TRIAL]: 'seccomp'},
		stdio: 'ignore',
	});
	return status === 0;
}

/* Root needs no promise, unless the service manager has taken away the right. */
function refuseUnseenCalls(): void {
	if (arch === undefined) {
		return;
	}

	const filter = assemble(arch, launcherRules(), SECCOMP_RET_ALLOW);
	if (filterThread(filter) !== undefined && prctl(PR_SET_NO_NEW_PRIVS, 1n, 0n, 0n, 0n) === 0) {
		filterThread(filter);
	}
}

/*
 * Node.js marks all descriptors that it finds at its start: no program that it starts
 * gets them. Those that the supervisor names are the worker's.
 */
function keepDescriptors(): void {
	for (const fd of process.env['TLSPROXY_KEEP']?.split(' ') ?? []) {
		clearCloseOnExec(Number(fd) as Fd);
	}
}
