/*++
/* NAME
/*	supervisor-request 3
/* SUMMARY
/*	what the supervisor has the program do besides serving
/* DESCRIPTION
/*	The supervisor is a shell script, and remains root. What it cannot
/*	do itself - log in the form and to the place that are configured,
/*	load certificates - it has this program do, in a process of its own
/*	that accepts no connection and ends in time.
/* .IP fatal
/*	Logs a text as the reason for which the worker has ended.
/* .IP check
/*	Looks whether files that have changed could be loaded again. They
/*	are named in JSON, by the worker.
/* DIAGNOSTICS
/*	The exit status of a check is zero when the files are good.
/* SECURITY
/*	The names come from the jail: they choose among the files that are
/*	configured, and no file is opened because of them.
/*--*/

import {Panic} from '../base/errors.ts';
import {toBytes} from '../base/text.ts';
import type {Seconds} from '../base/units.ts';
import type {Configuration} from '../conf/configuration.ts';
import {readMasterFile} from '../conf/services.ts';
import * as log from '../log/log.ts';
import {Watchdog} from '../master/watchdog.ts';
import {clientCredentialFiles} from '../roles/client-role.ts';
import {type CredentialFiles, fileNames, loadProblem} from '../roles/credential-files.ts';
import {clientParams} from '../roles/main-cf-settings.ts';
import {serverCredentialFiles} from '../roles/server-role.ts';
import {startLibrary} from '../tls/library.ts';

/** Seconds for an errand: a file system that does not answer must not keep the supervisor. */
const LIMIT = 20 as Seconds;

/**
 * Runs an errand.
 *
 * @param configuration - of the service; the log is open.
 * @returns the exit status.
 */
export async function runSupervisorRequest(
	errand: string,
	text: string,
	configuration: Configuration,
): Promise<number> {
	new Watchdog(LIMIT).restart();
	switch (errand) {
		case 'fatal':
			return log.fatal(text);
		case 'check':
			return await check(namesIn(text), configuration);
		default:
			throw new Panic(`unknown errand: ${errand}`);
	}
}

async function check(changed: readonly string[], configuration: Configuration): Promise<number> {
	process.chdir(configuration.string('queue_directory'));
	const {config_file: file, config_name: name} = clientParams(configuration);
	if (!startLibrary(file ?? 'default', name ?? '')) {
		return 1;
	}

	const credentialFiles = await materialsOf(configuration);
	const files = fileNames(credentialFiles).filter(known => changed.includes(known));
	if (files.length === 0) {
		/* Nobody uses them any more, once main.cf is read again: until then there is nothing better. */
		return 1;
	}

	const names = toBytes([...new Set(files)].join(', '));
	const problem = loadProblem(credentialFiles, files);
	if (problem === undefined) {
		log.info(`${names}: changed, and used for new connections`);
		return 0;
	}

	log.error(`${names}: changed, but not used: ${problem}`);
	return 1;
}

/* As when a process starts: services of master.cf may have come and gone. */
async function materialsOf(configuration: Configuration): Promise<readonly CredentialFiles[]> {
	const master = await readMasterFile(configuration.configDirectory);
	/* What is to be said about the configuration was said by the process that serves. */
	return log.captureWarnings(() => [
		...serverCredentialFiles(configuration),
		...clientCredentialFiles(configuration, master),
	]).result;
}

function namesIn(text: string): readonly string[] {
	let names: unknown;
	try {
		names = JSON.parse(text);
	} catch {
		return [];
	}

	return Array.isArray(names) ? names.filter(name => typeof name === 'string') : [];
}
