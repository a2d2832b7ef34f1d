/*++
/* NAME
/*	doctor 1
/* SUMMARY
/*	find obstacles to the reuse of TLS connections
/* SYNOPSIS
/*	doctor -c config_dir [next-hop ...]
/* DESCRIPTION
/*	Examines a Postfix instance, reports every setting that prevents
/*	smtp(8) and lmtp(8) from reusing TLS connections, and prints the
/*	commands that correct it. Nothing is changed. Without a finding,
/*	nothing is printed.
/*
/*	The command examines the release; smtp_tls_connection_reuse and the
/*	TLS security level of each service that delivers mail; the
/*	tlsproxy(8) service that it names, the program, its owner and mode,
/*	process limit, and client role; the scache(8) service; which
/*	connections are stored, how long, and for how many deliveries; the
/*	rate of deliveries; certificates; and whether running processes
/*	have the current configuration.
/* .IP "\fB-c \fIconfig_dir\fR"
/*	Configuration directory of the instance.
/* .IP \fInext-hop\fR
/*	Look up the TLS policy of this destination too. The syntax is that
/*	of transport(5) or relayhost: example.com, [mail.example.com]:587.
/*	The relay host is always looked up.
/* .PP
/*	Any user may run this command. Only root can examine keys, running
/*	processes, and directories without public access.
/* DIAGNOSTICS
/*	Exit status 0: no finding. 1: at least one finding. 2: the instance
/*	does not exist, or its configuration cannot be read.
/* SEE ALSO
/*	install(1), postconf(5), TLS_REUSE_README
/*--*/

import {existsSync} from 'node:fs';
import {dirname, join} from 'node:path';
import {cacheKey} from '../../src/base/cache-key.ts';
import {namedDirectory, runCommand, singleLetterOptions} from './command-line.ts';
import {checkCache} from './doctor/cache.ts';
import {checkIdentities} from './doctor/identity.ts';
import {checkRunning} from './doctor/running.ts';
import {checkService} from './doctor/service.ts';
import {checkSwitches} from './doctor/switches.ts';
import {type Finding, lookAt, titles} from './doctor/view.ts';
import {checkRelease} from './instance.ts';

const USAGE = 'usage: doctor -c config_dir [next-hop ...]';

/** Exit statuses. */
const FOUND = 1;
const CANNOT_LOOK = 2;

/** Width of a line on a terminal. */
const WIDTH = 78;

await runCommand(
	'doctor',
	() => {
		const {values, words} = singleLetterOptions(['c'], USAGE, [], 'words');
		const view = lookAt(namedDirectory(values.c, USAGE), words);
		const findings = diagnose(view.value('mail_version')) ?? [
			...checkService(view, installCommand()),
			...checkSwitches(view),
			...checkCache(view),
			...checkIdentities(view),
			...checkRunning(view),
		];
		if (findings.length > 0) {
			process.exitCode = FOUND;
			console.log(report(view.directory, merged(findings)));
		}
	},
	CANNOT_LOOK,
);

/* What else there is to say about a release that cannot do it does not matter. */
function diagnose(mailVersion: string): readonly Finding[] | undefined {
	try {
		checkRelease(mailVersion);
		return undefined;
	} catch (reason) {
		return [
			{
				fact: reason instanceof Error ? `${reason.message}.` : '',
				effect: 'smtp(8) of this release always does TLS itself.',
				repair: ['install a later release of Postfix'],
			},
		];
	}
}

/* In a checkout the command has another name than where a package installs it. */
function installCommand(): string {
	const inCheckout = join(dirname(import.meta.dirname), 'install');
	return existsSync(inCheckout) ? inCheckout : 'postfix-tlsproxy-install';
}

/* What is so of several services is said once, if the same repairs it. */
function merged(findings: readonly Finding[]): readonly Finding[] {
	const same = Map.groupBy(findings, ({fact, effect, repair}) => cacheKey(fact, effect, ...repair));
	return [...same.values()].flatMap(group => {
		const [first] = group;
		const who = group.flatMap(finding => finding.who ?? []);
		return first === undefined ? [] : [{...first, who}];
	});
}

/* In front of the full stop: of which services. */
function sentence({fact, who = []}: Finding): string {
	return who.length === 0 ? fact : `${fact.replace(/\.$/, '')} (${titles(who)}).`;
}

function report(directory: string, findings: readonly Finding[]): string {
	const count = findings.length === 1 ? 'one finding' : `${findings.length} findings`;
	return [
		`doctor: ${directory}: ${count}`,
		...findings.map((finding, index) =>
			`\n${wrapped(`${index + 1}. ${sentence(finding)} ${finding.effect}`, '   ')}\n${finding.repair.map(line => `     ${line}\n`).join('')}`.trimEnd(),
		),
	].join('\n');
}

function wrapped(text: string, indent: string): string {
	const lines: string[] = [];
	let line = '';
	for (const word of text.split(' ')) {
		if (line !== '' && line.length + word.length >= WIDTH) {
			lines.push(line);
			line = indent + word;
		} else {
			line = line === '' ? word : `${line} ${word}`;
		}
	}

	return [...lines, line].join('\n');
}
