/*++
/* NAME
/*	running 3
/* SUMMARY
/*	do the running daemons have the configuration that stands in the files?
/* DESCRIPTION
/*	master(8) reads master.cf at "postfix reload", and daemons read
/*	main.cf when they start: what was changed since then, or a program
/*	that was replaced, is not in use yet. Processes that finish their
/*	sessions after a reload are no longer children of master(8), and
/*	are not meant.
/*
/*	Says nothing when the instance is not running, or when this user
/*	may not see it.
/* SEE ALSO
/*	proc(5), postfix src/master/master_conf.c
/*--*/

import {existsSync, readdirSync, readFileSync, readlinkSync, statSync} from 'node:fs';
import {basename, dirname, join} from 'node:path';
import {fieldsOf, TICKS} from '../processes.ts';
import {proxiesOf} from './service.ts';
import {type Finding, isDisabled, type View} from './view.ts';

interface Daemon {
	readonly pid: number;
	readonly program: string;
	/** Seconds since the epoch. */
	readonly started: number;
	/** Program file, as the kernel has it. */
	readonly executable: string;
	/** Script that a shell runs: the supervisor of this program. */
	readonly script: string;
}

/** Checks what is running. */
export function checkRunning(view: View): readonly Finding[] {
	const master = masterOf(view);
	if (master === undefined) {
		return [];
	}

	const reload = [`postfix -c ${view.directory} reload`];
	return [...deafMaster(view, reload), ...oldDaemons(view, master, reload)];
}

/* Only who may read the lock file knows the instance. It can be older than a process of the same number. */
function masterOf(view: View): number | undefined {
	try {
		const file = join(view.value('queue_directory'), view.value('process_id_directory'), 'master.pid');
		const pid = Number(readFileSync(file, 'utf8').trim());
		return basename(readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[0] ?? '') === 'master'
			? pid
			: undefined;
	} catch {
		return undefined;
	}
}

/* master(8) makes the socket of a service when it learns of it. */
function deafMaster(view: View, reload: readonly string[]): readonly Finding[] {
	const directory = join(view.value('queue_directory'), 'private');
	const sockets = readOr('/proc/net/unix', '');
	return proxiesOf(view).flatMap(({service}) => {
		try {
			readdirSync(directory);
		} catch {
			return [];
		}

		const listens =
			existsSync(join(directory, service.name)) && sockets.includes(` private/${service.name}\n`);
		return listens || !service.isPrivate || isDisabled(view, service)
			? []
			: [
					{
						fact: `The running master(8) does not listen for ${service.title}.`,
						effect: 'It has not read master.cf since the service was added.',
						repair: reload,
					},
				];
	});
}

function oldDaemons(view: View, master: number, reload: readonly string[]): readonly Finding[] {
	const daemons = daemonsOf(master);
	const mainChanged = changed(join(view.directory, 'main.cf'));
	const masterChanged = changed(join(view.directory, 'master.cf'));
	const clients = new Set(['tlsproxy', 'scache', ...view.clients.map(({program}) => program)]);
	const found: Finding[] = [];
	for (const [file, time] of [
		['main.cf', mainChanged],
		['master.cf', masterChanged],
	] as const) {
		const old = daemons.filter(({program, started}) => clients.has(program) && started < time);
		if (old.length > 0) {
			found.push({
				fact: `${file} was changed after these processes were started: ${listOf(old)}.`,
				effect: 'They go on with the configuration that they have read.',
				repair: reload,
			});
			break;
		}
	}

	const replaced = daemons.filter(
		({program, started, executable, script}) =>
			program === 'tlsproxy' &&
			(executable.endsWith(' (deleted)') || (script !== '' && installed(script) > started)),
	);
	if (replaced.length > 0) {
		found.push({
			fact: `The program was replaced after these processes were started: ${listOf(replaced)}.`,
			effect: 'They serve with the earlier program until they end.',
			repair: reload,
		});
	}

	return found;
}

function listOf(daemons: readonly Daemon[]): string {
	return daemons.map(({program, pid}) => `${program}[${pid}]`).join(', ');
}

/*
 * Of this program it is the supervisor that is a child of master(8), a shell that
 * runs a script. It ends at a reload, when the worker finishes its sessions.
 */
function daemonsOf(master: number): readonly Daemon[] {
	const booted = Number(/^btime (\d+)/m.exec(readOr('/proc/stat', ''))?.[1] ?? 0);
	return readdirSync('/proc')
		.filter(name => /^\d+$/.test(name))
		.flatMap(name => {
			const fields = fieldsOf(readOr(`/proc/${name}/stat`, ''));
			if (Number(fields[1]) !== master) {
				return [];
			}

			const [first = '', second = ''] = readOr(`/proc/${name}/cmdline`, '').split('\0');
			const isScript = basename(second) === 'tlsproxy';
			return [
				{
					pid: Number(name),
					program: basename(isScript ? second : first),
					/* The 20th field behind the name. */
					started: booted + Number(fields[19] ?? 0) / TICKS,
					executable: linkOr(`/proc/${name}/exe`),
					script: isScript ? second : '',
				},
			];
		});
}

/* Whole seconds: start times are not more exact than the time of boot. */
function changed(path: string): number {
	return Math.floor((statSync(path, {throwIfNoEntry: false})?.mtimeMs ?? 0) / 1000) - 1;
}

/* Packages keep the time of modification; when a file came to its place only the kernel says. */
function installed(script: string): number {
	const times = ['lib/main.js', 'lib/node'].map(
		file => statSync(join(dirname(script), file), {throwIfNoEntry: false})?.ctimeMs ?? 0,
	);
	return Math.floor(Math.max(...times) / 1000) - 1;
}

function readOr(path: string, otherwise: string): string {
	try {
		return readFileSync(path, 'utf8');
	} catch {
		return otherwise;
	}
}

function linkOr(path: string): string {
	try {
		return readlinkSync(path);
	} catch {
		return '';
	}
}
