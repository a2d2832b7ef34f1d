/*++
/* NAME
/*	uninstall 1
/* SUMMARY
/*	take this program out of a Postfix instance
/* SYNOPSIS
/*	uninstall -c config_dir [-s service] [-r]
/*	uninstall -a [-r]
/* DESCRIPTION
/*	Takes the block that install wrote out of master.cf, and puts back
/*	the lines that it replaced. What else was edited meanwhile stays.
/*	A copy of the program (install -p) stays too: other instances may
/*	use it, and running processes do.
/* .IP "\fB-a\fR"
/*	Take out all services that run this copy of the program, in all
/*	instances that postmulti(1) knows and in those that
/*	alternate_config_directories names. Lines that were written by hand
/*	are not changed; they are an error.
/* .IP "\fB-c \fIconfig_dir\fR"
/*	Configuration directory of the instance.
/* .IP "\fB-r\fR"
/*	Reload the instances that are running and were changed.
/* .IP "\fB-s \fIservice\fR (default: tlsproxy)"
/*	Service name.
/* DIAGNOSTICS
/*	uninstall: fatal: ..., exit status 1; then that instance was not
/*	changed. A service that was never installed is not an error.
/* SEE ALSO
/*	install(1), master(5)
/*--*/

import {readFileSync, realpathSync} from 'node:fs';
import {dirname, join} from 'node:path';
import {
	checkServiceName,
	namedDirectory,
	printBytes,
	quoted,
	requireRoot,
	runCommand,
	singleLetterOptions,
} from './command-line.ts';
import {configurationDirectory, parametersOf, reloadIfRunning, replaceFile} from './instance.ts';
import {entries, Refusal, unregister} from './master-cf.ts';
import {builtProgram} from './program.ts';
import {registrationsOf} from './registered.ts';

const USAGE = 'usage: uninstall -c config_dir [-s service] [-r]\n       uninstall -a [-r]';

await runCommand('uninstall', () => {
	const {values, flags} = singleLetterOptions(['c', 's'], USAGE, ['a', 'r']);
	const {c: named, s: service = 'tlsproxy'} = values;
	checkServiceName(service);
	if (flags.has('a')) {
		if (named !== undefined || values.s !== undefined) {
			throw new Refusal(`-a is for all instances and services\n${USAGE}`);
		}

		requireRoot('master.cf belongs to root');
		takeOutEverywhere(flags.has('r'));
		return;
	}

	const directory = configurationDirectory(namedDirectory(named, USAGE));
	requireRoot('master.cf belongs to root');
	const taken = takeOut(directory, service);
	if (taken !== undefined) {
		announceReload(directory, flags.has('r'));
		const copy = copyOf(directory, taken.command);
		if (copy !== undefined) {
			console.log(`uninstall: note: the program itself is still in ${copy}`);
		}
	}
});

function takeOutEverywhere(reload: boolean): void {
	const program = builtProgram(dirname(dirname(import.meta.dirname)));
	const changed = new Set<string>();
	for (const {directory, service, byInstall} of registrationsOf(program)) {
		if (byInstall && takeOut(directory, service) !== undefined) {
			changed.add(directory);
		}
	}

	for (const directory of changed) {
		announceReload(directory, reload);
	}

	const [left] = registrationsOf(program);
	if (left !== undefined) {
		throw new Refusal(
			`${join(left.directory, 'master.cf')}: service ${left.service}/unix in line ${left.line} runs this program, and was not written by install: take it out first`,
		);
	}
}

/* Returns what the service ran, if it was there. */
function takeOut(directory: string, service: string): {readonly command: string | undefined} | undefined {
	const masterCf = join(directory, 'master.cf');
	const before = readFileSync(masterCf, 'latin1');
	const change = unregister(before, service);
	if (change === undefined) {
		console.log(
			`uninstall: ${masterCf}: service ${service}/unix was not installed by this program, nothing changed`,
		);
		return undefined;
	}

	const [registered] = entries(change.before);
	replaceFile(masterCf, before, change.text);
	console.log(
		`uninstall: ${masterCf}: ${change.after === '' ? 'removed' : 'restored'} service ${service}/unix`,
	);
	printBytes(quoted('was', change.before) + quoted('now', change.after));
	return {command: registered?.command};
}

function announceReload(directory: string, reload: boolean): void {
	if (!reload) {
		console.log(`uninstall: next: postfix -c ${directory} reload`);
	} else if (reloadIfRunning(directory)) {
		console.log(`uninstall: reloaded ${directory}`);
	}
}

/* Only a courtesy: an instance whose postconf does not answer can be cleaned all the same. */
function copyOf(directory: string, command: string | undefined): string | undefined {
	try {
		const {daemon_directory: daemonDirectory} = parametersOf(directory, ['daemon_directory']);
		return dirname(realpathSync(join(realpathSync(daemonDirectory), command ?? '')));
	} catch {
		return undefined;
	}
}
