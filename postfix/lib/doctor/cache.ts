/*++
/* NAME
/*	cache 3
/* SUMMARY
/*	check the connection cache of an instance
/* DESCRIPTION
/*	tlsproxy(8) keeps a TLS connection open. Whether another delivery
/*	uses it depends on smtp(8), scache(8) and qmgr(8): on which
/*	connections are stored, for how long, and when the next delivery
/*	starts.
/* SEE ALSO
/*	postfix src/smtp/smtp_connect.c, smtp_cache_policy()
/*	postfix src/scache/scache.c, src/qmgr/qmgr_entry.c
/*--*/

import {splitList} from '../../../src/base/text.ts';
import {
	type Client,
	type Finding,
	isDisabled,
	isYes,
	type PostfixInstance,
	reusingClients,
	titles,
} from './postfix-instance.ts';

/* Lower limits are reported: few deliveries would reuse a connection. The defaults are 300 s and no limit. */
const MIN_REUSE_TIME_LIMIT = 30;
const MIN_REUSE_COUNT_LIMIT = 5;

/**
 * A higher concurrency is reported. It is the default process limit: with as many deliveries, none waits for a
 * connection that another one releases.
 */
const MAX_CONCURRENCY = 100;

/** Default time for which scache(8) stores a connection, in seconds. */
const DEFAULT_STORAGE_TIME = 2;

/** Checks which connections are stored, for how long, and when they are reused. */
export function checkCache(instance: PostfixInstance): readonly Finding[] {
	const clients = reusingClients(instance);
	return [
		...checkScache(instance, clients),
		...clients.flatMap(client => [
			...checkStorage(client),
			...checkDestinations(client),
			...checkTimeLimits(instance, client),
			...checkRates(instance, client),
		]),
	];
}

function checkScache(instance: PostfixInstance, clients: readonly Client[]): readonly Finding[] {
	const names = new Set(clients.map(client => client.value('connection_cache_service_name')));
	return [...names].flatMap(name => {
		const users = titles(clients.filter(client => client.value('connection_cache_service_name') === name));
		const addition = `postconf -c ${instance.directory} -M ${name}/unix="${name} unix - - n - 1 scache"`;
		const scache = instance.services.find(service => service.name === name && service.type === 'unix');
		if (scache === undefined || !scache.isPrivate) {
			const other = instance.services.find(({command, type}) => command === 'scache' && type === 'unix');
			return [
				{
					fact:
						scache === undefined
							? `master.cf has no service ${name}/unix, where connections are stored (${users}).`
							: `The service ${name}/unix is not private, and clients connect to private/${name} (${users}).`,
					effect: 'The log says "disabling connection caching", and no connection is reused.',
					repair:
						scache === undefined && other !== undefined
							? [`postconf -c ${instance.directory} -e connection_cache_service_name=${other.name}`]
							: [addition],
				},
			];
		}

		return [
			...(isDisabled(instance, scache)
				? [
						{
							fact: `master_service_disable turns ${name}/unix off.`,
							effect: 'Connections cannot be stored.',
							repair: [`postconf -c ${instance.directory} -e master_service_disable=`],
						},
					]
				: []),
			...(scache.limit === 1
				? []
				: [
						{
							fact: `The service ${name}/unix has a process limit of ${scache.limit}.`,
							effect: 'scache(8) requires a limit of 1, and otherwise ends with an error.',
							repair: [`postconf -c ${instance.directory} -F ${name}/unix/process_limit=1`],
						},
					]),
		];
	});
}

function checkStorage(client: Client): readonly Finding[] {
	const name = `${client.program}_connection_cache_on_demand`;
	return isYes(client.programValue('connection_cache_on_demand')) ||
		client.programValue('connection_cache_destinations') !== ''
		? []
		: [
				{
					fact: `${name} is off, and ${client.program}_connection_cache_destinations is empty.`,
					services: [client],
					effect: 'No connection is ever stored.',
					repair: [client.set(name, 'yes')],
				},
			];
}

/* smtp(8) searches for the name without brackets and port. Source: smtp_connect_inet(). */
function checkDestinations(client: Client): readonly Finding[] {
	const name = `${client.program}_connection_cache_destinations`;
	const destinations = splitList(client.programValue('connection_cache_destinations'));
	const names = destinations.filter(text => !text.includes('/') && !/^[a-z]+:\S*[^\d]/.test(text));
	const withPort = names.filter(text => /^\[.*\]|^[\w.-]+:\d+$/.test(text));
	return withPort.length === 0
		? []
		: [
				{
					fact: `${name} contains ${withPort.map(text => `"${text}"`).join(', ')}.`,
					services: [client],
					effect:
						'smtp(8) searches this list for the name without brackets and port: these entries never match.',
					repair: [client.set(name, names.map(withoutPort).join(', '))],
				},
			];
}

function withoutPort(destination: string): string {
	return destination.replace(/^\[(.*?)\](:\w+)?$/, '$1').replace(/^([\w.-]+):\d+$/, '$1');
}

function checkTimeLimits(instance: PostfixInstance, client: Client): readonly Finding[] {
	const prefix = `${client.program}_connection`;
	const found: Finding[] = [];
	const wanted = seconds(client.programValue('connection_cache_time_limit'));
	const limit = seconds(instance.value('connection_cache_ttl_limit'));
	if (wanted > limit) {
		found.push({
			fact: `${prefix}_cache_time_limit is ${wanted} s, and connection_cache_ttl_limit is ${limit} s.`,
			services: [client],
			effect: `scache(8) still closes connections after ${limit} s.`,
			repair: [`postconf -c ${instance.directory} -e connection_cache_ttl_limit=${wanted}s`],
		});
	} else if (wanted < DEFAULT_STORAGE_TIME) {
		found.push({
			fact: `${prefix}_cache_time_limit is ${wanted} s.`,
			services: [client],
			effect: 'A stored connection is closed before the next message arrives.',
			repair: [client.set(`${prefix}_cache_time_limit`, `${DEFAULT_STORAGE_TIME}s`)],
		});
	}

	const reuseLimit = seconds(client.programValue('connection_reuse_time_limit'));
	if (reuseLimit < MIN_REUSE_TIME_LIMIT) {
		found.push({
			fact: `${prefix}_reuse_time_limit is ${reuseLimit} s.`,
			services: [client],
			effect: `A connection that was made more than ${reuseLimit} s ago is closed instead of stored.`,
			repair: [client.set(`${prefix}_reuse_time_limit`, '300s')],
		});
	}

	/* Postfix 2.11 and later. */
	const count = Number(client.programValue('connection_reuse_count_limit') || '0');
	if (count > 0 && count < MIN_REUSE_COUNT_LIMIT) {
		found.push({
			fact: `${prefix}_reuse_count_limit is ${count}.`,
			services: [client],
			effect: `A connection is closed after ${count + 1} deliveries.`,
			repair: [client.set(`${prefix}_reuse_count_limit`, '0')],
		});
	}

	return found;
}

/* Reports if the next delivery starts too late, or if too many deliveries start at the same time. */
function checkRates(instance: PostfixInstance, client: Client): readonly Finding[] {
	const {name} = client;
	const found: Finding[] = [];
	const storageTime = Math.min(
		seconds(client.programValue('connection_cache_time_limit')),
		seconds(client.value('connection_cache_ttl_limit')),
	);
	for (const kind of ['destination', 'transport']) {
		const delay = seconds(
			client.value(`${name}_${kind}_rate_delay`) || client.value(`default_${kind}_rate_delay`),
		);
		if (delay >= storageTime && delay > 0) {
			found.push({
				fact: `${name}_${kind}_rate_delay is ${delay} s, and connections are stored for ${storageTime} s.`,
				services: [client],
				effect: 'A stored connection is closed before the next delivery starts.',
				repair: [
					`postconf -c ${instance.directory} -e ${client.program}_connection_cache_time_limit=${delay + DEFAULT_STORAGE_TIME}s`,
					`postconf -c ${instance.directory} -e connection_cache_ttl_limit=${delay + DEFAULT_STORAGE_TIME}s`,
				],
			});
		}
	}

	const concurrency = Number(
		client.value(`${name}_destination_concurrency_limit`) ||
			client.value('default_destination_concurrency_limit'),
	);
	if (concurrency === 0 || concurrency >= MAX_CONCURRENCY) {
		found.push({
			fact: `${name}_destination_concurrency_limit is ${concurrency === 0 ? '0, which is unlimited' : concurrency}.`,
			services: [client],
			effect:
				'That many deliveries to one destination can run at the same time, and each needs a separate connection.',
			repair: [`postconf -c ${instance.directory} -e ${name}_destination_concurrency_limit=20`],
		});
	}

	return found;
}

/* The units of convert(3). Only the first character after the number is significant. */
function seconds(value: string): number {
	const [, number = '0', unit = 's'] = /^(\d+)\s*([smhdw]?)/i.exec(value) ?? [];
	return Number(number) * ({s: 1, m: 60, h: 3600, d: 86_400, w: 604_800}[unit.toLowerCase()] ?? 1);
}
