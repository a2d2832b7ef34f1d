/*++
/* NAME
/*	processes 3
/* SUMMARY
/*	find the processes of a Postfix instance
/* DESCRIPTION
/*	master(8) is the leader of a session, and its daemons stay in that
/*	session even after their parent has ended. The session therefore
/*	identifies the processes of one instance.
/* SEE ALSO
/*	proc(5)
/*--*/

import {readdirSync, readFileSync} from 'node:fs';

/** A process. */
export interface ProcessEntry {
	readonly pid: number;
	/** Process ID of the parent. */
	readonly parent: number;
	/** The command line. */
	readonly args: readonly string[];
}

/** All processes of a session, without zombies. */
export function processesOf(session: number): readonly ProcessEntry[] {
	return readdirSync('/proc')
		.filter(name => /^\d+$/.test(name))
		.flatMap(name => {
			try {
				const [state, parent, , processSession] = fieldsOf(readFileSync(`/proc/${name}/stat`, 'utf8'));
				if (Number(processSession) !== session || state === 'Z' || state === 'X') {
					return [];
				}

				return [{pid: Number(name), parent: Number(parent), args: commandLine(Number(name))}];
			} catch {
				/* The process has ended in the meantime. */
				return [];
			}
		});
}

/** The unit of times in proc(5), USER_HZ. It is the same on all machines that Debian supports. */
export const TICKS_PER_SECOND = 100;

/**
 * The fields of /proc/PID/stat, from the third one: state, parent, process group, session and so on. The second
 * field is the program name in parentheses, which can contain any character.
 */
export function fieldsOf(stat: string): readonly string[] {
	return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

/**
 * The command line of a process.
 *
 * @throws {Error} if the process does not exist.
 */
export function commandLine(pid: number): readonly string[] {
	return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
}

/** Whether a process runs a program, directly or as a script of an interpreter, or is its supervisor. */
export function runsProgram({args}: ProcessEntry, name: string): boolean {
	const [, script = ''] = args;
	return args.slice(0, script.endsWith('/supervisor.pl') ? 3 : 2).some(arg => arg.split('/').at(-1) === name);
}
