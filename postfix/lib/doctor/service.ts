/*++
/* NAME
/*	service 3
/* SUMMARY
/*	is there a tlsproxy(8) that clients can reach and master(8) can run?
/* DESCRIPTION
/*	Looks at the service that each client names: its line in master.cf,
/*	the program that the line names, and whether its client role is
/*	enabled. A client that finds none does not do TLS itself: mail is
/*	deferred, and at level "may" it goes out in cleartext later.
/* SEE ALSO
/*	postfix src/tls/tls_proxy_clnt.c, src/tlsproxy/tlsproxy.c
/*--*/

import {accessSync, constants, existsSync, realpathSync, statSync} from 'node:fs';
import {dirname, join} from 'node:path';
import {compareReleases, type Release} from '../../../src/conf/release.ts';
import {unsafeReason} from '../instance.ts';
import {UsageError} from '../master-cf.ts';
import {checkSafe} from '../program.ts';
import {
	type Client,
	type Finding,
	isDisabled,
	isYes,
	type Service,
	titles,
	usersOf,
	type View,
} from './view.ts';

/* What a client does when it cannot ask: measured with Postfix 3.7. */
const WITHOUT = 'Mail is deferred, and at security level "may" it is sent in cleartext later.';

/** A service that runs tlsproxy(8), and who asks it. */
export interface Proxy {
	readonly service: Service;
	readonly users: readonly Client[];
	/** Path of the program, without symbolic links; undefined when there is none. */
	readonly program: string | undefined;
	/** Whether it is this program, not stock's. */
	readonly isOurs: boolean;
}

/** The services that clients name and that exist. */
export function proxiesOf(view: View): readonly Proxy[] {
	return namesOf(view).flatMap(([name, users]) => {
		const service = view.services.find(candidate => candidate.name === name && candidate.type === 'unix');
		if (service === undefined) {
			return [];
		}

		const program = programOf(view, service);
		const isOurs = program !== undefined && existsSync(join(dirname(program), 'lib', 'main.js'));
		return [{service, users, program, isOurs}];
	});
}

/**
 * Checks the service.
 *
 * @param install - command that registers this program.
 */
export function checkService(view: View, install: string): readonly Finding[] {
	const proxies = proxiesOf(view);
	const missing = namesOf(view).filter(([name]) => !proxies.some(({service}) => service.name === name));
	return [
		...missing.map(([name, users]) => missingService(view, name, users, install)),
		...proxies.flatMap(proxy => [
			...entryOf(view, proxy),
			...fileOf(view, proxy, install),
			...limitOf(view, proxy),
			...roleOf(proxy),
		]),
	];
}

function namesOf(view: View): ReadonlyArray<readonly [name: string, users: readonly Client[]]> {
	return [...Map.groupBy(usersOf(view), client => client.value('tlsproxy_service_name'))];
}

function programOf(view: View, service: Service): string | undefined {
	try {
		return realpathSync(join(realpathSync(view.value('daemon_directory')), service.command));
	} catch {
		return undefined;
	}
}

/* Not every user may look into every directory: then nothing is known. */
function isAbsent(path: string): boolean {
	try {
		return statSync(path, {throwIfNoEntry: false}) === undefined;
	} catch {
		return false;
	}
}

function missingService(view: View, name: string, users: readonly Client[], install: string): Finding {
	const sameName = view.services.find(service => service.name === name);
	const other = view.services.find(({command, type}) => type === 'unix' && /(^|\/)tlsproxy$/.test(command));
	const [user] = users;
	return {
		fact:
			sameName === undefined
				? `master.cf has no active service ${name}/unix, which tlsproxy_service_name names (${titles(users)}).`
				: `The service ${name} has the type ${sameName.type}, not unix (${titles(users)}).`,
		effect: WITHOUT,
		repair:
			other !== undefined && user !== undefined
				? [user.set('tlsproxy_service_name', other.name)]
				: [
						`${install} -c ${view.directory}${name === 'tlsproxy' ? '' : ` -s ${name}`}`,
						`or, for stock: postconf -c ${view.directory} -M ${name}/unix="${name} unix - - n - 0 tlsproxy"`,
					],
	};
}

function entryOf(view: View, {service, users}: Proxy): readonly Finding[] {
	const found: Finding[] = [];
	if (!service.isPrivate) {
		found.push({
			fact: `The service ${service.title} is not private, and clients look for private/${service.name} (${titles(users)}).`,
			effect: WITHOUT,
			repair: [`postconf -c ${view.directory} -F ${service.title}/private=y`],
		});
	}

	if (isDisabled(view, service)) {
		found.push({
			fact: `master_service_disable turns ${service.title} off (${titles(users)}).`,
			effect: WITHOUT,
			repair: [`postconf -c ${view.directory} -e master_service_disable=`],
		});
	}

	if (!/(^|\/)tlsproxy$/.test(service.command)) {
		found.push({
			fact: `The service ${service.title} runs ${service.command}, which is not tlsproxy(8).`,
			effect: WITHOUT,
			repair: [`postconf -c ${view.directory} -F ${service.title}/command=tlsproxy`],
		});
	}

	return found;
}

function fileOf(view: View, {service, program, isOurs}: Proxy, install: string): readonly Finding[] {
	const path = join(view.value('daemon_directory'), service.command);
	const reinstall = `${install} -c ${view.directory}${service.name === 'tlsproxy' ? '' : ` -s ${service.name}`}`;
	if (program === undefined) {
		return isAbsent(path)
			? [
					{
						fact: `The program of ${service.title} does not exist: ${path}.`,
						effect: `master(8) cannot start it. ${WITHOUT}`,
						repair: [reinstall],
					},
				]
			: [];
	}

	if (!isExecutable(program)) {
		return [
			{
				fact: `The program of ${service.title} is not an executable file: ${program}.`,
				effect: `master(8) cannot start it. ${WITHOUT}`,
				repair: [`chmod 755 ${program}`],
			},
		];
	}

	const reason = isOurs ? unsafeTree(dirname(program)) : unsafeReason(program);
	return reason === undefined
		? []
		: [
				{
					fact: `${reason}, and master(8) runs ${program} as root.`,
					effect: 'Whoever can change the program of a service is root.',
					repair: [`chown root ${reason.split(' ')[0]}; chmod go-w ${reason.split(' ')[0]}`],
				},
			];
}

function isExecutable(path: string): boolean {
	const stat = statSync(path, {throwIfNoEntry: false});
	if (stat === undefined || !stat.isFile()) {
		return false;
	}

	try {
		accessSync(path, constants.X_OK);
		return true;
	} catch {
		return (stat.mode & 0o111) !== 0;
	}
}

function unsafeTree(directory: string): string | undefined {
	try {
		checkSafe(directory);
		return undefined;
	} catch (reason) {
		if (reason instanceof UsageError) {
			return reason.message.split(',')[0];
		}

		/* A directory that this user may not read. */
		return undefined;
	}
}

/* Stock insists on 0. With ours any limit works; one process uses one core. */
function limitOf(view: View, {service, isOurs, program}: Proxy): readonly Finding[] {
	const {title, limit} = service;
	if (program !== undefined && !isOurs && limit !== 0) {
		return [
			{
				fact: `The service ${title} has a process limit of ${limit}, and stock tlsproxy(8) runs without a limit only.`,
				effect: `It ends with an error. ${WITHOUT}`,
				repair: [`postconf -c ${view.directory} -F ${title}/process_limit=0`],
			},
		];
	}

	return isOurs && limit === 1
		? [
				{
					fact: `The service ${title} has a process limit of 1.`,
					effect: 'All handshakes wait for one processor core.',
					repair: [`postconf -c ${view.directory} -F ${title}/process_limit=2`],
				},
			]
		: [];
}

/* Source: pre_jail_init_client(), postfix src/tlsproxy/tlsproxy.c. */
function roleOf({service, users}: Proxy): readonly Finding[] {
	const current = service.value('tlsproxy_client_security_level');
	const [name, level, policy] = hasName(service)
		? (['tlsproxy_client_security_level', current, service.value('tlsproxy_client_policy_maps')] as const)
		: ([
				'tlsproxy_client_level',
				service.value('tlsproxy_client_level'),
				service.value('tlsproxy_client_policy'),
			] as const);
	const enabled =
		level === ''
			? isYes(service.value('tlsproxy_client_use_tls')) || isYes(service.value('tlsproxy_client_enforce_tls'))
			: level.toLowerCase() !== 'none';
	if (enabled || policy !== '' || service.value('tlsproxy_client_per_site') !== '') {
		return [];
	}

	const wantsTls = users.filter(user => !['', 'none'].includes(user.own('tls_security_level').toLowerCase()));
	return wantsTls.length === 0
		? []
		: [
				{
					fact: `${name} is ${level === '' ? 'empty' : `"${level}"`} for ${service.title}, which turns its client role off (${titles(wantsTls)} want TLS).`,
					effect: WITHOUT,
					repair: [service.set(name, 'may')],
				},
			];
}

/* The parameters have other names in 3.7 and later. */
function hasName(service: Service): boolean {
	const [release = ''] = /^\d+\.\d+/.exec(service.value('mail_version')) ?? [];
	return compareReleases(release as Release, '3.7') >= 0;
}
