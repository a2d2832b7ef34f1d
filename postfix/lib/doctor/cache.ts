/*++
/* NAME
/*	cache 3
/* SUMMARY
/*	are connections stored, and found again in time?
/* DESCRIPTION
/*	tlsproxy(8) keeps a TLS connection; whether another delivery gets
/*	it is decided by smtp(8), scache(8) and qmgr(8): what is stored,
/*	for how long, and when the next delivery comes.
/* SEE ALSO
/*	postfix src/smtp/smtp_connect.c, smtp_cache_policy()
/*	postfix src/scache/scache.c, src/qmgr/qmgr_entry.c
/*--*/

import {type Client, type Finding, isDisabled, isYes, titles, usersOf, type View} from './view.ts';

/* Below these, in seconds or deliveries, reuse is the exception. The defaults are 300 s and no limit. */
const SHORT_LIFE = 30;
const FEW_DELIVERIES = 5;

/* As many as there are processes by default: then nobody waits for a connection that another one gives back. */
const MANY_DELIVERIES = 100;

/** Time for which scache(8) keeps a connection by default, in seconds. */
const USUAL_STORAGE = 2;

/** Checks storage. */
export function checkCache(view: View): readonly Finding[] {
	const users = usersOf(view);
	return [
		...serviceOf(view, users),
		...users.flatMap(client => [
			...isStored(client),
			...destinations(client),
			...lifetime(view, client),
			...pace(view, client),
		]),
	];
}

function serviceOf(view: View, users: readonly Client[]): readonly Finding[] {
	const names = new Set(users.map(client => client.value('connection_cache_service_name')));
	return [...names].flatMap(name => {
		const who = titles(users.filter(client => client.value('connection_cache_service_name') === name));
		const line = `postconf -c ${view.directory} -M ${name}/unix="${name} unix - - n - 1 scache"`;
		const scache = view.services.find(service => service.name === name && service.type === 'unix');
		if (scache === undefined || !scache.isPrivate) {
			const other = view.services.find(({command, type}) => command === 'scache' && type === 'unix');
			return [
				{
					fact:
						scache === undefined
							? `master.cf has no service ${name}/unix, where connections are stored (${who}).`
							: `The service ${name}/unix is not private, and clients look for private/${name} (${who}).`,
					effect: 'The log says "disabling connection caching", and no connection is reused.',
					repair:
						scache === undefined && other !== undefined
							? [`postconf -c ${view.directory} -e connection_cache_service_name=${other.name}`]
							: [line],
				},
			];
		}

		return [
			...(isDisabled(view, scache)
				? [
						{
							fact: `master_service_disable turns ${name}/unix off.`,
							effect: 'Connections cannot be stored.',
							repair: [`postconf -c ${view.directory} -e master_service_disable=`],
						},
					]
				: []),
			...(scache.limit === 1
				? []
				: [
						{
							fact: `The service ${name}/unix has a process limit of ${scache.limit}.`,
							effect: 'scache(8) runs with a limit of 1 only, and ends with an error otherwise.',
							repair: [`postconf -c ${view.directory} -F ${name}/unix/process_limit=1`],
						},
					]),
		];
	});
}

function isStored(client: Client): readonly Finding[] {
	const name = `${client.program}_connection_cache_on_demand`;
	return isYes(client.own('connection_cache_on_demand')) || client.own('connection_cache_destinations') !== ''
		? []
		: [
				{
					fact: `${name} is off, and ${client.program}_connection_cache_destinations is empty.`,
					who: [client],
					effect: 'No connection is ever stored.',
					repair: [client.set(name, 'yes')],
				},
			];
}

/* smtp(8) looks for the name alone, without brackets and port. Source: smtp_connect_inet(). */
function destinations(client: Client): readonly Finding[] {
	const name = `${client.program}_connection_cache_destinations`;
	const value = client.own('connection_cache_destinations');
	const words = value.split(/[\s,]+/).filter(word => !word.includes('/') && !/^[a-z]+:\S*[^\d]/.test(word));
	const bad = words.filter(word => /^\[.*\]|^[\w.-]+:\d+$/.test(word));
	return bad.length === 0
		? []
		: [
				{
					fact: `${name} has ${bad.map(word => `"${word}"`).join(', ')}.`,
					who: [client],
					effect: 'smtp(8) looks for the name without brackets and port there, so that never matches.',
					repair: [client.set(name, words.map(bare).join(', '))],
				},
			];
}

function bare(destination: string): string {
	return destination.replace(/^\[(.*?)\](:\w+)?$/, '$1').replace(/^([\w.-]+):\d+$/, '$1');
}

function lifetime(view: View, client: Client): readonly Finding[] {
	const prefix = `${client.program}_connection`;
	const found: Finding[] = [];
	const wanted = seconds(client.own('connection_cache_time_limit'));
	const limit = seconds(view.value('connection_cache_ttl_limit'));
	if (wanted > limit) {
		found.push({
			fact: `${prefix}_cache_time_limit is ${wanted} s, and connection_cache_ttl_limit is ${limit} s.`,
			who: [client],
			effect: `scache(8) closes connections after ${limit} s all the same.`,
			repair: [`postconf -c ${view.directory} -e connection_cache_ttl_limit=${wanted}s`],
		});
	} else if (wanted < USUAL_STORAGE) {
		found.push({
			fact: `${prefix}_cache_time_limit is ${wanted} s.`,
			who: [client],
			effect: 'A stored connection is closed before the next message can be there.',
			repair: [client.set(`${prefix}_cache_time_limit`, `${USUAL_STORAGE}s`)],
		});
	}

	const life = seconds(client.own('connection_reuse_time_limit'));
	if (life < SHORT_LIFE) {
		found.push({
			fact: `${prefix}_reuse_time_limit is ${life} s.`,
			who: [client],
			effect: `A connection that was made more than ${life} s ago is closed instead of stored.`,
			repair: [client.set(`${prefix}_reuse_time_limit`, '300s')],
		});
	}

	/* 2.11 and later. */
	const count = Number(client.own('connection_reuse_count_limit') || '0');
	if (count > 0 && count < FEW_DELIVERIES) {
		found.push({
			fact: `${prefix}_reuse_count_limit is ${count}.`,
			who: [client],
			effect: `A connection is closed after ${count + 1} deliveries.`,
			repair: [client.set(`${prefix}_reuse_count_limit`, '0')],
		});
	}

	return found;
}

/* When the next delivery comes too late, or all come at once. */
function pace(view: View, client: Client): readonly Finding[] {
	const {name} = client;
	const found: Finding[] = [];
	const kept = Math.min(
		seconds(client.own('connection_cache_time_limit')),
		seconds(client.value('connection_cache_ttl_limit')),
	);
	for (const kind of ['destination', 'transport']) {
		const own = client.value(`${name}_${kind}_rate_delay`);
		const delay = seconds(own === '' ? client.value(`default_${kind}_rate_delay`) : own);
		if (delay >= kept && delay > 0) {
			found.push({
				fact: `${name}_${kind}_rate_delay is ${delay} s, and a stored connection is kept for ${kept} s.`,
				who: [client],
				effect: 'It is closed before the next delivery starts.',
				repair: [
					`postconf -c ${view.directory} -e ${client.program}_connection_cache_time_limit=${delay + USUAL_STORAGE}s`,
					`postconf -c ${view.directory} -e connection_cache_ttl_limit=${delay + USUAL_STORAGE}s`,
				],
			});
		}
	}

	const own = client.value(`${name}_destination_concurrency_limit`);
	const concurrency = Number(own === '' ? client.value('default_destination_concurrency_limit') : own);
	if (concurrency === 0 || concurrency >= MANY_DELIVERIES) {
		found.push({
			fact: `${name}_destination_concurrency_limit is ${concurrency === 0 ? '0, which is unlimited' : concurrency}.`,
			who: [client],
			effect: 'So many deliveries to one destination run at a time, and each needs a connection of its own.',
			repair: [`postconf -c ${view.directory} -e ${name}_destination_concurrency_limit=20`],
		});
	}

	return found;
}

/* Units are those of convert(3): only the first character behind the number counts. */
function seconds(value: string): number {
	const [, number = '0', unit = 's'] = /^(\d+)\s*([smhdw]?)/i.exec(value) ?? [];
	return Number(number) * ({s: 1, m: 60, h: 3600, d: 86_400, w: 604_800}[unit.toLowerCase()] ?? 1);
}
