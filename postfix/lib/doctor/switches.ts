/*++
/* NAME
/*	switches 3
/* SUMMARY
/*	check that TLS and connection reuse are enabled
/* DESCRIPTION
/*	Examines the settings that determine whether smtp(8) uses TLS for a
/*	delivery, and whether it uses tlsproxy(8): the parameter
/*	smtp_tls_connection_reuse, the security level, the policy of a
/*	destination, and settings that hide STARTTLS from smtp(8).
/* SEE ALSO
/*	postfix src/smtp/smtp_tls_policy.c, smtp_proto.c
/*--*/

import {splitList} from '../../../src/base/text.ts';
import {tablesIn} from '../../../src/conf/postconf-output.ts';
import {
	type Client,
	type Finding,
	isYes,
	lookUp,
	type PostfixInstance,
	reusingClients,
	titles,
} from './postfix-instance.ts';

/** The security levels of Postfix. Source: postfix src/tls/tls_level.c. */
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

/** Checks whether TLS and connection reuse are enabled, for clients and destinations. */
export function checkSwitches(instance: PostfixInstance): readonly Finding[] {
	const reusing = instance.clients.filter(({reuses}) => reuses);
	return [
		...unknownSettings(instance),
		...(reusing.length === 0 ? turnedOff(instance) : []),
		...reusingClients(instance).flatMap(client => [...checkLevel(client), ...hiddenStarttls(client)]),
		...reusing.flatMap(client =>
			instance.destinations.flatMap(destination => checkPolicy(instance, client, destination)),
		),
	];
}

/* For Postfix, a misspelled name is a user-defined parameter. Only "postconf -n" reports it. */
function unknownSettings(instance: PostfixInstance): readonly Finding[] {
	return instance.unknown
		.filter(setting => /^(smtp|lmtp|tls|tlsproxy|connection)_/.test(setting))
		.map(setting => ({
			fact: `main.cf or master.cf contains "${setting}", and Postfix ${instance.value('mail_version')} has no parameter of that name.`,
			effect: 'It has no effect. It may be misspelled, or be a parameter of another release.',
			repair: [
				`postconf -d | grep "^${setting.split('_')[0]}_"`,
				`postconf -c ${instance.directory} -X "${setting.split('=')[0]}"`,
			],
		}));
}

function turnedOff(instance: PostfixInstance): readonly Finding[] {
	const clients = instance.clients.filter(({program}) => program === 'smtp');
	const [first] = clients;
	if (first === undefined) {
		return [
			{
				fact: 'No service in master.cf runs smtp(8).',
				effect: 'No service delivers mail over connections that can be reused.',
				repair: [`postconf -c ${instance.directory} -M smtp/unix="smtp unix - - n - - smtp"`],
			},
		];
	}

	return [
		{
			fact: `smtp_tls_connection_reuse is off (${titles(clients)}).`,
			effect: 'smtp(8) does not use tlsproxy(8), and closes every TLS connection after one delivery.',
			repair: [first.set('smtp_tls_connection_reuse', 'yes')],
		},
	];
}

/* Source: global_tls_level(). */
function checkLevel(client: Client): readonly Finding[] {
	const {program} = client;
	const name = `${program}_tls_security_level`;
	const level = client.programValue('tls_security_level').toLowerCase();
	if (level !== '' && !LEVELS.includes(level)) {
		return [
			{
				fact: `${name} is "${level}", which is not a security level.`,
				services: [client],
				effect: `${program}(8) ends with an error, and delivers no mail.`,
				repair: [client.set(name, 'may')],
			},
		];
	}

	const obsolete =
		level === '' && (isYes(client.programValue('use_tls')) || isYes(client.programValue('enforce_tls')));
	const perDestination =
		client.programValue('tls_policy_maps') !== '' || client.programValue('tls_per_site') !== '';
	if ((level === '' || level === 'none') && !obsolete && !perDestination) {
		return [
			{
				fact: `${name} is ${level === '' ? 'empty' : '"none"'}.`,
				services: [client],
				effect: 'Mail is sent in cleartext, without tlsproxy(8).',
				repair: [client.set(name, 'may')],
			},
		];
	}

	if (isYes(client.programValue('tls_wrappermode')) && ['', 'none', 'may'].includes(level)) {
		return [
			{
				fact: `${program}_tls_wrappermode is on, with ${name} ${level === '' ? 'empty' : `"${level}"`}.`,
				services: [client],
				effect: `${program}(8) does not deliver mail: wrapper mode requires "encrypt" or a stronger level.`,
				repair: [client.set(name, 'encrypt')],
			},
		];
	}

	return [];
}

function hiddenStarttls(client: Client): readonly Finding[] {
	const found: Finding[] = [];
	const keywords = splitList(client.programValue('discard_ehlo_keywords'));
	if (keywords.some(keyword => keyword.toLowerCase() === 'starttls')) {
		const name = `${client.program}_discard_ehlo_keywords`;
		found.push({
			fact: `${name} contains STARTTLS.`,
			services: [client],
			effect: `${client.program}(8) does not detect that servers support TLS.`,
			repair: [client.set(name, keywords.filter(keyword => keyword.toLowerCase() !== 'starttls').join(', '))],
		});
	}

	if (client.program === 'smtp' && isYes(client.programValue('never_send_ehlo'))) {
		found.push({
			fact: `smtp_never_send_ehlo is on.`,
			services: [client],
			effect: 'Servers announce STARTTLS in the reply to EHLO, and smtp(8) sends HELO.',
			repair: [client.set('smtp_never_send_ehlo', 'no')],
		});
	}

	return found;
}

/* A next-hop with brackets or a port is looked up unchanged. For a domain, its parent domains are looked up too. Source: tls_policy_lookup(). */
function checkPolicy(instance: PostfixInstance, client: Client, destination: string): readonly Finding[] {
	const tables = tablesIn(client.programValue('tls_policy_maps'));
	const labels = destination.split('.');
	const parents = labels.slice(1).map((_, index) => `.${labels.slice(index + 1).join('.')}`);
	const isName = /^[\w.-]+$/.test(destination);
	const found = firstPolicy(instance, tables, isName ? [destination, ...parents] : [destination]);
	if (found !== undefined) {
		return policyFinding(client, destination, found.table, found.policy);
	}

	const host = /^\[?([^\]]*?)\]?(:\w+)?$/.exec(destination)?.[1] ?? '';
	const other = isName ? undefined : firstPolicy(instance, tables, [host, `[${host}]`]);
	return other === undefined
		? []
		: [
				{
					fact: `${other.table} has a policy for ${other.key}, and the next-hop is ${destination}.`,
					services: [client],
					effect:
						'smtp(8) looks up a next-hop with brackets or a port unchanged: that policy does not apply.',
					repair: [`edit ${other.table}: write ${destination} instead of ${other.key}`],
				},
			];
}

function firstPolicy(
	instance: PostfixInstance,
	tables: readonly string[],
	keys: readonly string[],
): {readonly table: string; readonly key: string; readonly policy: string} | undefined {
	for (const key of keys) {
		for (const table of tables) {
			const policy = lookUp(instance.directory, table, key);
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
	const description = `the policy of ${destination} in ${table} is "${policy}".`;
	const [level = '', ...attributes] = splitList(policy);
	if (level.toLowerCase() === 'none') {
		return [
			{
				fact: `TLS is off: ${description}`,
				services: [client],
				effect: 'Mail for it is sent in cleartext, without tlsproxy(8).',
				repair: [`edit ${table}`],
			},
		];
	}

	const reuse = attributes.findLast(attribute => /^connection_reuse=/i.test(attribute));
	return reuse?.toLowerCase() === 'connection_reuse=no'
		? [
				{
					fact: `Reuse is off: ${description}`,
					services: [client],
					effect: 'Every delivery to it uses a new connection.',
					repair: [`edit ${table}: remove "connection_reuse=no"`],
				},
			]
		: [];
}
