/*++
/* NAME
/*	processes 3
/* SUMMARY
/*	the processes of a master(8)
/* DESCRIPTION
/*	master(8) is the leader of a session, and its daemons stay in it.
/*	That tells the processes of one instance from all others, also when
/*	their parent has gone.
/* SEE ALSO
/*	proc(5)
/*--*/

import {readdirSync, readFileSync} from 'node:fs';

/** A process. */
export interface ProcessEntry {
	readonly pid: number;
	/** Who has started it. */
	readonly parent: number;
	/** Command line. */
	readonly args: readonly string[];
}

/** All living processes of a session. */
export function processesOf(session: number): readonly ProcessEntry[] {
	return readdirSync('/proc')
		.filter(name => /^\d+$/.test(name))
		.flatMap(name => {
			try {
				const [state, parent, , owner] = fieldsOf(readFileSync(`/proc/${name}/stat`, 'utf8'));
				if (Number(owner) !== session || state === 'Z' || state === 'X') {
					return [];
				}

				return [{pid: Number(name), parent: Number(parent), args: commandLine(Number(name))}];
			} catch {
				/* It has ended while we looked. */
				return [];
			}
		});
}

/** Clock ticks per second in proc(5): USER_HZ, the same on all machines that Debian supports. */
export const TICKS = 100;

/**
 * Fields of /proc/PID/stat, from the third: state, parent, group, session. The second is the name, in
 * parentheses, and can have anything in it.
 */
export function fieldsOf(stat: string): readonly string[] {
	return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

/**
 * The command line of a process.
 *
 * @throws {Error} when there is no such process.
 */
export function commandLine(pid: number): readonly string[] {
	return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
}

/** Whether a process runs a program, itself or as a script. */
export function runsProgram({args}: ProcessEntry, name: string): boolean {
	return args.slice(0, 2).some(arg => arg.split('/').at(-1) === name);
}
