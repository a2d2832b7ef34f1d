/*++
/* NAME
/*	switches 3
/* SUMMARY
/*	is connection reuse turned on, and TLS at all?
/* DESCRIPTION
/*	What decides in smtp(8) whether a delivery uses TLS, and whether it
/*	asks tlsproxy(8) for it: the switch, the security level, the policy
/*	of a destination, and settings that hide STARTTLS from smtp(8).
/* SEE ALSO
/*	postfix src/smtp/smtp_tls_policy.c, smtp_proto.c
/*--*/

import {tablesIn} from '../../../src/conf/postconf-output.ts';
import {type Client, type Finding, isYes, lookUp, titles, usersOf, type View} from './view.ts';

/** Security levels that Postfix knows. Source: postfix src/tls/tls_level.c. */
const LEVELS = [
	'none',
	'may',
	'encrypt',
	'fingerprint',
	'half-dane',
	'dane',
	'dane-only',
	'verify',
	'secure',
];

/** Checks the switches. */
export function checkSwitches(view: View): readonly Finding[] {
	const users = view.clients.filter(({reuses}) => reuses);
	return [
		...unknownSettings(view),
		...(users.length === 0 ? turnedOff(view) : []),
		...usersOf(view).flatMap(client => [...levelOf(client), ...hiddenStarttls(client)]),
		...users.flatMap(client => view.destinations.flatMap(destination => policyOf(view, client, destination))),
	];
}

/* A misspelled name is a user-defined parameter for Postfix, and postconf(1) says so only when asked. */
function unknownSettings(view: View): readonly Finding[] {
	return view.unknown
		.filter(setting => /^(smtp|lmtp|tls|tlsproxy|connection)_/.test(setting))
		.map(setting => ({
			fact: `main.cf or master.cf has "${setting}", and Postfix ${view.value('mail_version')} has no parameter of that name.`,
			effect: 'It has no effect. Maybe it is misspelled, or belongs to another release.',
			repair: [
				`postconf -d | grep "^${setting.split('_')[0]}_"`,
				`postconf -c ${view.directory} -X "${setting.split('=')[0]}"`,
			],
		}));
}

function turnedOff(view: View): readonly Finding[] {
	const clients = view.clients.filter(({program}) => program === 'smtp');
	const [first] = clients;
	if (first === undefined) {
		return [
			{
				fact: 'No service in master.cf runs smtp(8).',
				effect: 'Nobody delivers over connections that could be reused.',
				repair: [`postconf -c ${view.directory} -M smtp/unix="smtp unix - - n - - smtp"`],
			},
		];
	}

	return [
		{
			fact: `smtp_tls_connection_reuse is off (${titles(clients)}).`,
			effect: 'smtp(8) does TLS itself, and closes every encrypted connection after one delivery.',
			repair: [first.set('smtp_tls_connection_reuse', 'yes')],
		},
	];
}

/* Source: global_tls_level(). */
function levelOf(client: Client): readonly Finding[] {
	const {program} = client;
	const name = `${program}_tls_security_level`;
	const level = client.own('tls_security_level').toLowerCase();
	if (level !== '' && !LEVELS.includes(level)) {
		return [
			{
				fact: `${name} is "${level}", which is no security level.`,
				who: [client],
				effect: `${program}(8) ends with an error, and delivers nothing.`,
				repair: [client.set(name, 'may')],
			},
		];
	}

	const obsolete = level === '' && (isYes(client.own('use_tls')) || isYes(client.own('enforce_tls')));
	const perDestination = client.own('tls_policy_maps') !== '' || client.own('tls_per_site') !== '';
	if ((level === '' || level === 'none') && !obsolete && !perDestination) {
		return [
			{
				fact: `${name} is ${level === '' ? 'empty' : '"none"'}.`,
				who: [client],
				effect: 'Mail is sent in cleartext. Without TLS, tlsproxy(8) is not asked.',
				repair: [client.set(name, 'may')],
			},
		];
	}

	if (isYes(client.own('tls_wrappermode')) && ['', 'none', 'may'].includes(level)) {
		return [
			{
				fact: `${program}_tls_wrappermode is on, with ${name} ${level === '' ? 'empty' : `"${level}"`}.`,
				who: [client],
				effect: `${program}(8) refuses to deliver: TLS from the first byte on needs "encrypt" or stronger.`,
				repair: [client.set(name, 'encrypt')],
			},
		];
	}

	return [];
}

function hiddenStarttls(client: Client): readonly Finding[] {
	const found: Finding[] = [];
	const words = client.own('discard_ehlo_keywords').split(/[\s,]+/);
	if (words.some(word => word.toLowerCase() === 'starttls')) {
		const name = `${client.program}_discard_ehlo_keywords`;
		found.push({
			fact: `${name} has STARTTLS.`,
			who: [client],
			effect: `${client.program}(8) does not see that servers offer TLS.`,
			repair: [client.set(name, words.filter(word => word.toLowerCase() !== 'starttls').join(', '))],
		});
	}

	if (client.program === 'smtp' && isYes(client.own('never_send_ehlo'))) {
		found.push({
			fact: `smtp_never_send_ehlo is on.`,
			who: [client],
			effect: 'Servers tell that they offer TLS in their reply to EHLO, and smtp(8) sends HELO.',
			repair: [client.set('smtp_never_send_ehlo', 'no')],
		});
	}

	return found;
}

/* A next-hop in brackets or with a port is looked up as it stands; a domain, with its parents too. Source: tls_policy_lookup(). */
function policyOf(view: View, client: Client, destination: string): readonly Finding[] {
	const tables = tablesIn(client.own('tls_policy_maps'));
	const labels = destination.split('.');
	const parents = labels.slice(1).map((_, index) => `.${labels.slice(index + 1).join('.')}`);
	const isName = /^[\w.-]+$/.test(destination);
	const found = firstOf(view, tables, isName ? [destination, ...parents] : [destination]);
	if (found !== undefined) {
		return policyFinding(client, destination, found.table, found.policy);
	}

	const host = /^\[?([^\]]*?)\]?(:\w+)?$/.exec(destination)?.[1] ?? '';
	const other = isName ? undefined : firstOf(view, tables, [host, `[${host}]`]);
	return other === undefined
		? []
		: [
				{
					fact: `${other.table} has a policy for ${other.key}, and the next-hop is ${destination}.`,
					who: [client],
					effect:
						'smtp(8) looks for a next-hop with brackets or a port as it stands: that policy does not apply.',
					repair: [`edit ${other.table}: write ${destination} instead of ${other.key}`],
				},
			];
}

function firstOf(
	view: View,
	tables: readonly string[],
	keys: readonly string[],
): {readonly table: string; readonly key: string; readonly policy: string} | undefined {
	for (const key of keys) {
		for (const table of tables) {
			const policy = lookUp(view.directory, table, key);
			if (policy !== undefined) {
				return {table, key, policy};
			}
		}
	}

	return undefined;
}

function policyFinding(
	client: Client,
	destination: string,
	table: string,
	policy: string,
): readonly Finding[] {
	const place = `the policy of ${destination} in ${table} is "${policy}".`;
	const [level = '', ...attributes] = policy.split(/[\s,]+/);
	if (level.toLowerCase() === 'none') {
		return [
			{
				fact: `TLS is off: ${place}`,
				who: [client],
				effect: 'Mail for it is sent in cleartext, and tlsproxy(8) is not asked.',
				repair: [`edit ${table}`],
			},
		];
	}

	const reuse = attributes.findLast(attribute => /^connection_reuse=/i.test(attribute));
	return reuse?.toLowerCase() === 'connection_reuse=no'
		? [
				{
					fact: `Reuse is off: ${place}`,
					who: [client],
					effect: 'Every delivery to it makes a connection of its own.',
					repair: [`edit ${table}: take out "connection_reuse=no"`],
				},
			]
		: [];
}
