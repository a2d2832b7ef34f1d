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
/*	have the current configuration, and are those of this program.
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
import {errorText} from '../../src/base/text.ts';
import {requireDirectory, runCommand, singleLetterOptions} from './command-line.ts';
import {checkCache} from './doctor/cache.ts';
import {checkIdentities} from './doctor/identity.ts';
import {type Finding, readInstance, titles} from './doctor/postfix-instance.ts';
import {checkRunning} from './doctor/running.ts';
import {checkService} from './doctor/service.ts';
import {checkSwitches} from './doctor/switches.ts';
import {checkRelease} from './instance.ts';

const USAGE = 'usage: doctor -c config_dir [next-hop ...]';

/** Exit statuses. */
const FOUND = 1;
const CANNOT_EXAMINE = 2;

/** Maximum length of an output line, in characters. */
const LINE_WIDTH = 78;

await runCommand(
	'doctor',
	() => {
		const {values, operands} = singleLetterOptions(['c'], USAGE, [], 'operands');
		const instance = readInstance(requireDirectory(values.c, USAGE), operands);
		const findings = checkSupported(instance.value('mail_version')) ?? [
			...checkService(instance, installCommand()),
			...checkSwitches(instance),
			...checkCache(instance),
			...checkIdentities(instance),
			...checkRunning(instance),
		];
		if (findings.length > 0) {
			process.exitCode = FOUND;
			console.log(report(instance.directory, merged(findings)));
		}
	},
	CANNOT_EXAMINE,
);

/* Undefined if the release supports connection reuse. If not, nothing else is examined. */
function checkSupported(mailVersion: string): readonly Finding[] | undefined {
	try {
		checkRelease(mailVersion);
		return undefined;
	} catch (reason) {
		return [
			{
				fact: `${errorText(reason)}.`,
				effect: 'smtp(8) of this release does not use tlsproxy(8).',
				repair: ['install a later release of Postfix'],
			},
		];
	}
}

/* The name of the command in a checkout differs from that in the package. */
function installCommand(): string {
	const inCheckout = join(dirname(import.meta.dirname), 'install');
	return existsSync(inCheckout) ? inCheckout : 'postfix-tlsproxy-install';
}

/* Findings with the same fact, effect and repair become one finding for all their services. */
function merged(findings: readonly Finding[]): readonly Finding[] {
	const same = Map.groupBy(findings, ({fact, effect, repair}) => cacheKey(fact, effect, ...repair));
	return [...same.values()].flatMap(group => {
		const [first] = group;
		const services = group.flatMap(finding => finding.services ?? []);
		return first === undefined ? [] : [{...first, services}];
	});
}

/* Adds the services in parentheses, in front of the full stop. */
function sentence({fact, services = []}: Finding): string {
	return services.length === 0 ? fact : `${fact.replace(/\.$/, '')} (${titles(services)}).`;
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
		if (line !== '' && line.length + word.length >= LINE_WIDTH) {
			lines.push(line);
			line = indent + word;
		} else {
			line = line === '' ? word : `${line} ${word}`;
		}
	}

	return [...lines, line].join('\n');
}
