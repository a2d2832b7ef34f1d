/*++
/* NAME
/*	supervisor-request 3
/* SUMMARY
/*	runs a request of the supervisor
/* DESCRIPTION
/*	The supervisor remains root, but cannot load certificates. It
/*	executes this program for that, in a separate process that accepts
/*	no connection and has a time limit.
/* .IP fatal
/*	Logs the reason why the worker has ended. Only the supervisor
/*	without Perl makes this request.
/* .IP check
/*	Checks whether changed files can be loaded. The worker sends their
/*	names as a JSON list.
/* DIAGNOSTICS
/*	The exit status of a check is zero if the files can be loaded.
/* SECURITY
/*	The names come from the jail. They are compared with the files that
/*	are configured: no other file is opened.
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

/** Seconds for a request: a file system may not respond. */
const REQUEST_LIMIT = 20 as Seconds;

/**
 * Runs a request.
 *
 * @param request - name of the request.
 * @param text - its argument.
 * @param configuration - of the service; the log is open.
 * @returns the exit status.
 */
export async function runSupervisorRequest(
	request: string,
	text: string,
	configuration: Configuration,
): Promise<number> {
	new Watchdog(REQUEST_LIMIT).restart();
	switch (request) {
		case 'fatal':
			return log.fatal(text);
		case 'check':
			return await check(namesIn(text), configuration);
		default:
			throw new Panic(`unknown request of the supervisor: ${request}`);
	}
}

async function check(changed: readonly string[], configuration: Configuration): Promise<number> {
	process.chdir(configuration.string('queue_directory'));
	const {config_file: file, config_name: name} = clientParams(configuration);
	if (!startLibrary(file ?? 'default', name ?? '')) {
		return 1;
	}

	const credentialFiles = await credentialFilesOf(configuration);
	const files = fileNames(credentialFiles).filter(known => changed.includes(known));
	if (files.length === 0) {
		/* main.cf has changed, and names other files. They are used after the next reload. */
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

/* As when a process starts: services in master.cf may have changed. */
async function credentialFilesOf(configuration: Configuration): Promise<readonly CredentialFiles[]> {
	const master = await readMasterFile(configuration.configDirectory);
	/* The worker has logged the warnings about the configuration. */
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
