/*++
/* NAME
/*	ancestry 3
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

import {Panic} from '../errors.ts';
import {setCloseOnExec, write} from '../ffi/libc.ts';
import type {Fd} from '../units.ts';

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
	readonly words: Fd;
	/** We read. */
	readonly orders: Fd;
}

/** How the process stands to those who started it. */
export interface Ancestry {
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
export function ancestryFrom(environment: NodeJS.ProcessEnv): Ancestry {
	const generation = environment['GENERATION'] ?? '0';
	if (!/^[0-7]+$/.test(generation)) {
		throw new Panic(`bad generation: ${generation}`);
	}

	const [, pid, words, orders] = /^(\d+) (\d+) (\d+)$/.exec(environment['TLSPROXY_SUPERVISOR'] ?? '') ?? [];
	return {
		pid: Number(pid ?? process.pid),
		generation: Number.parseInt(generation, 8),
		supervisor: pid === undefined ? undefined : {words: Number(words) as Fd, orders: Number(orders) as Fd},
	};
}

/** Keeps what was left open from programs that we start: the first thing to do. */
export function keepDescriptors({supervisor}: Ancestry): void {
	const pipes = supervisor === undefined ? [] : [supervisor.words, supervisor.orders];
	for (const fd of [MASTER_FLOW_READ, MASTER_FLOW_WRITE, MASTER_STATUS_FD, MASTER_LISTEN_FD, ...pipes]) {
		setCloseOnExec(fd);
	}
}

/** Says a word to the supervisor, with a text of one line behind it. */
export function say({supervisor}: Ancestry, word: string, text = ''): void {
	if (supervisor !== undefined) {
		const line = Buffer.from(`${word} ${text}`.trimEnd() + '\n');
		write(supervisor.words, line, line.length);
	}
}

/** Tells the supervisor how the process ends. Without a word it is taken for a crash. */
export function farewell(ancestry: Ancestry, status: number): void {
	say(ancestry, String(status));
}
