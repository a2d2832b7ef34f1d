/*++
/* NAME
/*	parent-process 3
/* SUMMARY
/*	who started this process, and how to speak with them
/* DESCRIPTION
/*	master(8) has started a supervisor, and that has started us. What
/*	master(8) left open is in fixed places. The supervisor has left two
/*	pipes: one for words of ours, a line each, and one on which it says
/*	that we have to end, or ends itself.
/* SEE ALSO
/*	postfix src/master/master_proto.h, supervisor.sh
/*--*/

import {Panic} from '../base/errors.ts';
import type {Fd} from '../base/units.ts';
import {setCloseOnExec, write} from '../ffi/libc/libc.ts';

/* Descriptors that master(8) leaves open. Source: postfix src/master/master_proto.h. */
const MASTER_FLOW_READ = 3 as Fd;
const MASTER_FLOW_WRITE = 4 as Fd;
/** The status channel: reports go out, nothing but its end ever comes in. */
export const MASTER_STATUS_FD = 5 as Fd;
/** The socket that clients connect to. */
export const MASTER_LISTEN_FD = 6 as Fd;

/** The two pipes. */
export interface SupervisorPipes {
	/** We write. */
	readonly toSupervisor: Fd;
	/** We read. */
	readonly fromSupervisor: Fd;
}

/** How the process stands to those who started it. */
export interface ParentProcess {
	/** Process id that master(8) knows. */
	readonly pid: number;
	/** Number of this process among all that master(8) has started. */
	readonly generation: number;
	/** The supervisor, if there is one. */
	readonly supervisor: SupervisorPipes | undefined;
}

/**
 * Reads the ancestry from the environment.
 *
 * @throws {Panic} when GENERATION is not octal: nobody but master(8) sets it.
 */
export function parentProcessFrom(environment: NodeJS.ProcessEnv): ParentProcess {
	const generation = environment['GENERATION'] ?? '0';
	if (!/^[0-7]+$/.test(generation)) {
		throw new Panic(`bad generation: ${generation}`);
	}

	const [, pid, words, orders] = /^(\d+) (\d+) (\d+)$/.exec(environment['TLSPROXY_SUPERVISOR'] ?? '') ?? [];
	return {
		pid: Number(pid ?? process.pid),
		generation: Number.parseInt(generation, 8),
		supervisor:
			pid === undefined
				? undefined
				: {toSupervisor: Number(words) as Fd, fromSupervisor: Number(orders) as Fd},
	};
}

/** Keeps what was left open from programs that we start: the first thing to do. */
export function setInheritedCloseOnExec({supervisor}: ParentProcess): void {
	const pipes = supervisor === undefined ? [] : [supervisor.toSupervisor, supervisor.fromSupervisor];
	for (const fd of [MASTER_FLOW_READ, MASTER_FLOW_WRITE, MASTER_STATUS_FD, MASTER_LISTEN_FD, ...pipes]) {
		setCloseOnExec(fd);
	}
}

/** Says a word to the supervisor, with a text of one line behind it. */
export function notifySupervisor({supervisor}: ParentProcess, word: string, text = ''): void {
	if (supervisor !== undefined) {
		const line = Buffer.from(`${word} ${text}`.trimEnd() + '\n');
		write(supervisor.toSupervisor, line, line.length);
	}
}

/** Tells the supervisor how the process ends. Without a word it is taken for a crash. */
export function notifyExit(parentProcess: ParentProcess, status: number): void {
	notifySupervisor(parentProcess, String(status));
}
