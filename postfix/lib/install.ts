/*++
/* NAME
/*	install 1
/* SUMMARY
/*	register this program as a service of a Postfix instance
/* SYNOPSIS
/*	install -c config_dir [-s service] [-p program_dir] [-C y|n]
/*		[-l limit] [-r]
/*	install -a [-r]
/* DESCRIPTION
/*	Writes the service into master.cf of the instance, in a block that
/*	uninstall can remove, and prints the changes. main.cf is not
/*	changed. The command can be run again; it then updates the block.
/*	Edited columns and options are kept, even if postconf(1) has moved
/*	the line out of the block.
/* .IP "\fB-a\fR"
/*	With -r, reload all instances in which this copy of the program is
/*	registered. Use this after an upgrade. No file is changed.
/* .IP "\fB-c \fIconfig_dir\fR"
/*	Configuration directory of the instance.
/* .IP "\fB-r\fR"
/*	Reload the instance if it is running and a file was changed. If
/*	the reload fails, the previous master.cf is restored.
/* .IP "\fB-s \fIservice\fR (default: tlsproxy)"
/*	Service name. An active line with that name that runs tlsproxy is
/*	replaced; its options are kept.
/* .IP "\fB-p \fIprogram_dir\fR"
/*	Copy the program to that directory first. The directory must not
/*	contain other files. Default: the program runs in the directory
/*	where it was built.
/* .IP "\fB-C y|n\fR (default: as in the active line, or n)"
/*	Run in a chroot jail.
/* .IP "\fB-l \fIlimit\fR (default: the number of cores, at least 2)"
/*	Process limit. One process serves thousands of sessions.
/* DIAGNOSTICS
/*	On failure, "install: fatal: ..." is printed, the exit status is 1,
/*	and nothing has been changed.
/* SEE ALSO
/*	uninstall(1), master(5)
/*--*/

import {readFileSync, realpathSync} from 'node:fs';
import {availableParallelism} from 'node:os';
import {dirname, join, relative} from 'node:path';
import {
	checkServiceName,
	labelled,
	printBytes,
	requireDirectory,
	requireRoot,
	runCommand,
	singleLetterOptions,
} from './command-line.ts';
import {
	checkRelease,
	configurationDirectory,
	parametersOf,
	reloadIfRunning,
	replaceFile,
} from './instance.ts';
import {register} from './master-cf.ts';
import {builtProgram, checkSafe, copyProgram, copyTarget} from './program.ts';
import {registrationsOf} from './registered.ts';
import {UsageError} from './usage-error.ts';

const USAGE = `usage: install -c config_dir [-s service] [-p program_dir] [-C y|n] [-l limit] [-r]
       install -a [-r]`;

await runCommand('install', () => {
	const {values, flags} = singleLetterOptions(['c', 's', 'p', 'C', 'l'], USAGE, ['a', 'r']);
	const {c: directoryOption, s: service = 'tlsproxy', p: programDirectory, C: chroot, l: limit} = values;
	if (flags.has('a')) {
		if (Object.keys(values).length > 0) {
			throw new UsageError(`-a selects all instances: omit all other options except -r\n${USAGE}`);
		}

		requireRoot('only root can reload Postfix');
		reloadRegistered(flags.has('r'));
		return;
	}

	checkServiceName(service);
	if (chroot !== undefined && chroot !== 'y' && chroot !== 'n') {
		throw new UsageError(`-C ${chroot}: y or n expected`);
	}

	if (limit !== undefined && !/^\d{1,5}$/.test(limit)) {
		throw new UsageError(`-l ${limit}: number of processes expected`);
	}

	requireRoot('root owns master.cf, and must own the program that it names');
	const directory = configurationDirectory(requireDirectory(directoryOption, USAGE));
	const parameters = parametersOf(directory, [
		'mail_version',
		'daemon_directory',
		'smtp_tls_connection_reuse',
		'tlsproxy_service_name',
	]);
	checkRelease(parameters.mail_version);

	const built = builtProgram(dirname(dirname(import.meta.dirname)));
	const target = programDirectory === undefined ? built : copyTarget(programDirectory);
	if (target === built) {
		checkSafe(built);
	}

	const masterCf = join(directory, 'master.cf');
	const before = readFileSync(masterCf, 'latin1');
	const change = register(before, {
		service,
		command: commandColumn(parameters.daemon_directory, join(target, 'tlsproxy')),
		...(chroot === undefined ? {} : {chroot}),
		...(limit === undefined ? {} : {limit: Number(limit)}),
		defaultLimit: Math.max(2, availableParallelism()),
	});

	/* All checks are done. The program must exist before master.cf names it. */
	const copied = target !== built && copyProgram(built, target);
	if (copied) {
		console.log(`install: copied the program to ${target}`);
	}

	if (change.text === before) {
		console.log(`install: ${masterCf}: service ${service}/unix is already registered, nothing changed`);
	} else {
		replaceFile(masterCf, before, change.text);
		console.log(
			`install: ${masterCf}: ${change.before === '' ? 'added' : 'replaced'} service ${service}/unix`,
		);
		printBytes(labelled('was', change.before) + labelled('now', change.after));
	}

	if (copied || change.text !== before) {
		try {
			announceReload(directory, flags.has('r'));
		} catch (reason) {
			if (!(reason instanceof UsageError) || change.text === before) {
				throw reason;
			}

			/* Otherwise a second run would find the service in master.cf, and would not reload. */
			replaceFile(masterCf, change.text, before);
			throw new UsageError(`${reason.message}\n${masterCf} was restored`, {cause: reason});
		}
	}

	if (parameters.smtp_tls_connection_reuse.toLowerCase() !== 'yes') {
		console.log(
			'install: note: smtp_tls_connection_reuse is off: smtp(8) does not use the service. To turn it on:',
		);
		console.log(`  postconf -c ${directory} -e smtp_tls_connection_reuse=yes`);
	}

	if (parameters.tlsproxy_service_name !== service) {
		console.log(
			`install: note: clients use the service ${parameters.tlsproxy_service_name}. To select this service for a client, add to its line in master.cf:`,
		);
		console.log(`  -o tlsproxy_service_name=${service}`);
	}
});

function reloadRegistered(reload: boolean): void {
	for (const directory of registrationsOf(builtProgram(dirname(dirname(import.meta.dirname))))) {
		announceReload(directory, reload);
	}
}

function announceReload(directory: string, reload: boolean): void {
	if (!reload) {
		console.log(`install: next: postfix -c ${directory} reload`);
	} else if (reloadIfRunning(directory)) {
		console.log(`install: reloaded ${directory}`);
	}
}

/* master(8) prepends daemon_directory and splits at blanks: the path must be relative and must not contain a blank. */
function commandColumn(daemonDirectory: string, program: string): string {
	const command = relative(realpathSync(daemonDirectory), program);
	// oxlint-disable-next-line no-control-regex
	if (/[\s{}\u0000-\u001f\u007f]/.test(command)) {
		throw new UsageError(
			`${program}: master.cf cannot contain a path with blanks or braces: use "-p DIRECTORY"`,
		);
	}

	return Buffer.from(command, 'utf8').toString('latin1');
}
