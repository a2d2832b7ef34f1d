/*++
/* NAME
/*	running 3
/* SUMMARY
/*	check that running processes have the current configuration
/* DESCRIPTION
/*	master(8) reads master.cf at "postfix reload", and daemons read
/*	main.cf when they start. Later changes, and a program that was
/*	replaced, are not in use yet. Processes that finish their sessions
/*	after a reload are no longer children of master(8), and are not
/*	examined.
/*
/*	Nothing is reported if the instance is not running, or if this user
/*	is not permitted to examine it.
/* SEE ALSO
/*	proc(5), postfix src/master/master_conf.c
/*--*/

import {existsSync, readdirSync, readFileSync, readlinkSync, statSync} from 'node:fs';
import {basename, dirname, join} from 'node:path';
import {fieldsOf, TICKS_PER_SECOND} from '../processes.ts';
import {type Finding, isDisabled, type PostfixInstance} from './postfix-instance.ts';
import {proxyServices} from './service.ts';

/** A child of master(8). */
interface Daemon {
	readonly pid: number;
	/** Base name of the program. */
	readonly program: string;
	/** Seconds since the epoch. */
	readonly started: number;
	/** Target of /proc/PID/exe. */
	readonly executable: string;
	/** The supervisor of this program, a script; empty for other programs. */
	readonly script: string;
	/** Name of the service, from the command line. */
	readonly service: string;
}

/** Checks the running processes of an instance. */
export function checkRunning(instance: PostfixInstance): readonly Finding[] {
	const master = masterOf(instance);
	if (master === undefined) {
		return [];
	}

	const reload = [`postfix -c ${instance.directory} reload`];
	return [...missingListeners(instance, reload), ...outdatedDaemons(instance, master, reload)];
}

/* Undefined if this user may not read the lock file. The process ID in an old lock file can be that of another program. */
function masterOf(instance: PostfixInstance): number | undefined {
	try {
		const file = join(
			instance.value('queue_directory'),
			instance.value('process_id_directory'),
			'master.pid',
		);
		const pid = Number(readFileSync(file, 'utf8').trim());
		return basename(readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[0] ?? '') === 'master'
			? pid
			: undefined;
	} catch {
		return undefined;
	}
}

/* master(8) creates the socket of a service when it reads master.cf. */
function missingListeners(instance: PostfixInstance, reload: readonly string[]): readonly Finding[] {
	const directory = join(instance.value('queue_directory'), 'private');
	const sockets = readTextOr('/proc/net/unix', '');
	return proxyServices(instance).flatMap(({service}) => {
		try {
			readdirSync(directory);
		} catch {
			return [];
		}

		const listens =
			existsSync(join(directory, service.name)) && sockets.includes(` private/${service.name}\n`);
		return listens || !service.isPrivate || isDisabled(instance, service)
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

function outdatedDaemons(
	instance: PostfixInstance,
	master: number,
	reload: readonly string[],
): readonly Finding[] {
	const daemons = daemonsOf(master);
	const mainChanged = modificationTime(join(instance.directory, 'main.cf'));
	const masterChanged = modificationTime(join(instance.directory, 'master.cf'));
	const examined = new Set(['tlsproxy', 'scache', ...instance.clients.map(({program}) => program)]);
	const found: Finding[] = [];
	for (const [file, time] of [
		['main.cf', mainChanged],
		['master.cf', masterChanged],
	] as const) {
		const old = daemons.filter(({program, started}) => examined.has(program) && started < time);
		if (old.length > 0) {
			found.push({
				fact: `${file} was changed after these processes were started: ${listOf(old)}.`,
				effect: 'They use the configuration that they read at start.',
				repair: reload,
			});
			break;
		}
	}

	const replaced = daemons.filter(
		({program, started, executable, script}) =>
			program === 'tlsproxy' &&
			(executable.endsWith(' (deleted)') || (script !== '' && installationTime(script) > started)),
	);
	const ours = proxyServices(instance).filter(({isThisProgram}) => isThisProgram);
	const stock = daemons.filter(
		({program, script, started, service}) =>
			program === 'tlsproxy' &&
			script === '' &&
			started >= masterChanged &&
			ours.some(proxy => proxy.service.name === service),
	);
	if (stock.length > 0) {
		found.push({
			fact: `This program could not start. The program of Postfix serves instead: ${listOf(stock)}.`,
			effect:
				'It has one client identity. The log has the cause: a warning that begins with "using". After 100 sessions, or 100 seconds without a session, this program is tried again, or at once with the command below.',
			repair: reload,
		});
	}

	if (replaced.length > 0) {
		found.push({
			fact: `The program was replaced after these processes were started: ${listOf(replaced)}.`,
			effect: 'They run the earlier program until they end.',
			repair: reload,
		});
	}

	return found;
}

function listOf(daemons: readonly Daemon[]): string {
	return daemons.map(({program, pid}) => `${program}[${pid}]`).join(', ');
}

/*
 * The child of master(8) that runs this program is the supervisor, a script. It ends at a reload, while
 * the worker finishes its sessions.
 */
function daemonsOf(master: number): readonly Daemon[] {
	const bootTime = Number(/^btime (\d+)/m.exec(readTextOr('/proc/stat', ''))?.[1] ?? 0);
	return readdirSync('/proc')
		.filter(name => /^\d+$/.test(name))
		.flatMap(name => {
			const fields = fieldsOf(readTextOr(`/proc/${name}/stat`, ''));
			if (Number(fields[1]) !== master) {
				return [];
			}

			const args = readTextOr(`/proc/${name}/cmdline`, '').split('\0');
			const [first = '', second = '', third = ''] = args;
			/* Perl has the program as an argument of its script; a shell runs it. */
			const script = [second, basename(second) === 'supervisor.pl' ? third : ''].find(
				path => basename(path) === 'tlsproxy',
			);
			return [
				{
					pid: Number(name),
					program: basename(script ?? first),
					/* The 20th field after the name. */
					started: bootTime + Number(fields[19] ?? 0) / TICKS_PER_SECOND,
					executable: readLinkOrEmpty(`/proc/${name}/exe`),
					script: script ?? '',
					/* master(8) omits the option if the program has the name of the service. */
					service: args.includes('-n') ? (args[args.indexOf('-n') + 1] ?? '') : basename(first),
				},
			];
		});
}

/* Whole seconds, rounded down, minus one: the accuracy of start times is that of the boot time. */
function modificationTime(path: string): number {
	return Math.floor((statSync(path, {throwIfNoEntry: false})?.mtimeMs ?? 0) / 1000) - 1;
}

/* The change time, because dpkg(1) preserves modification times. */
function installationTime(script: string): number {
	const times = ['lib/main.js', 'lib/node'].map(
		file => statSync(join(dirname(script), file), {throwIfNoEntry: false})?.ctimeMs ?? 0,
	);
	return Math.floor(Math.max(...times) / 1000) - 1;
}

function readTextOr(path: string, otherwise: string): string {
	try {
		return readFileSync(path, 'utf8');
	} catch {
		return otherwise;
	}
}

function readLinkOrEmpty(path: string): string {
	try {
		return readlinkSync(path);
	} catch {
		return '';
	}
}
