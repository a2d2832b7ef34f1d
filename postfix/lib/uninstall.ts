/*++
/* NAME
/*	uninstall 1
/* SUMMARY
/*	take this program out of a Postfix instance
/* SYNOPSIS
/*	uninstall -c config_dir [-s service]
/* DESCRIPTION
/*	Takes the block that install wrote out of master.cf, and puts back
/*	the lines that it replaced. What else was edited meanwhile stays.
/*	A copy of the program (install -p) stays too: other instances may
/*	use it, and running processes do.
/* DIAGNOSTICS
/*	uninstall: fatal: ..., exit status 1; then nothing was changed.
/*	A service that was never installed is not an error.
/* SEE ALSO
/*	install(1), master(5)
/*--*/

import {readFileSync, realpathSync} from 'node:fs';
import {dirname, join} from 'node:path';
import {
	checkServiceName,
	printBytes,
	quoted,
	requireRoot,
	runCommand,
	singleLetterOptions,
} from './command-line.ts';
import {configurationDirectory, parametersOf, replaceFile} from './instance.ts';
import {entries, Refusal, unregister} from './master-cf.ts';

const USAGE = 'usage: uninstall -c config_dir [-s service]';

await runCommand('uninstall', () => {
	const {c: named, s: service = 'tlsproxy'} = singleLetterOptions(['c', 's'], USAGE);
	if (named === undefined) {
		throw new Refusal(`no configuration directory\n${USAGE}`);
	}

	checkServiceName(service);
	requireRoot('master.cf belongs to root');
	const directory = configurationDirectory(named);
	const masterCf = join(directory, 'master.cf');
	const before = readFileSync(masterCf, 'latin1');
	const change = unregister(before, service);
	if (change === undefined) {
		console.log(
			`uninstall: ${masterCf}: service ${service}/unix was not installed by this program, nothing changed`,
		);
		return;
	}

	const [registered] = entries(change.before);
	replaceFile(masterCf, before, change.text);
	console.log(
		`uninstall: ${masterCf}: ${change.after === '' ? 'removed' : 'restored'} service ${service}/unix`,
	);
	printBytes(quoted('was', change.before) + quoted('now', change.after));
	console.log(`uninstall: next: postfix -c ${directory} reload`);
	const copy = copyOf(directory, registered?.command);
	if (copy !== undefined) {
		console.log(`uninstall: note: the program itself is still in ${copy}`);
	}
});

/* Only a courtesy: an instance whose postconf does not answer can be cleaned all the same. */
function copyOf(directory: string, command: string | undefined): string | undefined {
	try {
		const {daemon_directory: daemonDirectory} = parametersOf(directory, ['daemon_directory']);
		return dirname(realpathSync(join(realpathSync(daemonDirectory), command ?? '')));
	} catch {
		return undefined;
	}
}
