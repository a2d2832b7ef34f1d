/*++
/* NAME
/*	service 3
/* SUMMARY
/*	check the tlsproxy(8) services of an instance
/* DESCRIPTION
/*	Examines the service that each client names: its line in master.cf,
/*	its program, and whether its client role is enabled. A client that
/*	cannot connect to the service does not make TLS connections itself:
/*	mail is deferred, and at level "may" it is sent in cleartext later.
/* SEE ALSO
/*	postfix src/tls/tls_proxy_clnt.c, src/tlsproxy/tlsproxy.c
/*--*/

import {accessSync, constants, existsSync, realpathSync, statSync} from 'node:fs';
import {dirname, join} from 'node:path';
import {isIn, parameterOf} from '../../../src/conf/parameters.ts';
import {clientRoleNames, isClientRoleEnabled} from '../../../src/roles/client-role-enabled.ts';
import {minorRelease, unsafeReason} from '../instance.ts';
import {checkSafe} from '../program.ts';
import {UsageError} from '../usage-error.ts';
import {
	type Client,
	type Finding,
	isDisabled,
	isYes,
	type PostfixInstance,
	reusingClients,
	type Service,
	titles,
} from './postfix-instance.ts';

/** The effect if a client cannot use the service. Measured with Postfix 3.7. */
const NO_SERVICE = 'Mail is deferred, and at security level "may" it is sent in cleartext later.';

/** A service that runs tlsproxy(8), and its clients. */
export interface ProxyService {
	readonly service: Service;
	readonly clients: readonly Client[];
	/** Path of the program, without symbolic links; undefined if it does not exist. */
	readonly program: string | undefined;
	/** Whether the program is this one, and not stock. */
	readonly isThisProgram: boolean;
}

/** The existing services that clients name. */
export function proxyServices(instance: PostfixInstance): readonly ProxyService[] {
	return clientsByService(instance).flatMap(([name, clients]) => {
		const service = instance.services.find(candidate => candidate.name === name && candidate.type === 'unix');
		if (service === undefined) {
			return [];
		}

		const program = programOf(instance, service);
		/* Even if files are missing. */
		const isThisProgram =
			program !== undefined &&
			['main.js', 'node'].some(file => existsSync(join(dirname(program), 'lib', file)));
		return [{service, clients, program, isThisProgram}];
	});
}

/**
 * Checks the services that clients name.
 *
 * @param install - the command that registers this program.
 */
export function checkService(instance: PostfixInstance, install: string): readonly Finding[] {
	const proxies = proxyServices(instance);
	const missing = clientsByService(instance).filter(
		([name]) => !proxies.some(({service}) => service.name === name),
	);
	return [
		...missing.map(([name, clients]) => missingService(instance, name, clients, install)),
		...proxies.flatMap(proxy => [
			...checkEntry(instance, proxy),
			...checkProgram(instance, proxy, install),
			...checkLimit(instance, proxy),
			...checkClientRole(proxy),
		]),
	];
}

function clientsByService(
	instance: PostfixInstance,
): ReadonlyArray<readonly [name: string, clients: readonly Client[]]> {
	return [...Map.groupBy(reusingClients(instance), client => client.value('tlsproxy_service_name'))];
}

function programOf(instance: PostfixInstance, service: Service): string | undefined {
	try {
		return realpathSync(join(realpathSync(instance.value('daemon_directory')), service.command));
	} catch {
		return undefined;
	}
}

/* False if this user may not search a directory of the path: then nothing is known. */
function isAbsent(path: string): boolean {
	try {
		return statSync(path, {throwIfNoEntry: false}) === undefined;
	} catch {
		return false;
	}
}

function missingService(
	instance: PostfixInstance,
	name: string,
	clients: readonly Client[],
	install: string,
): Finding {
	const sameName = instance.services.find(service => service.name === name);
	const other = instance.services.find(
		({command, type}) => type === 'unix' && /(^|\/)tlsproxy$/.test(command),
	);
	const [client] = clients;
	return {
		fact:
			sameName === undefined
				? `master.cf has no active service ${name}/unix, which tlsproxy_service_name names (${titles(clients)}).`
				: `The service ${name} has the type ${sameName.type}, not unix (${titles(clients)}).`,
		effect: NO_SERVICE,
		repair:
			other !== undefined && client !== undefined
				? [client.set('tlsproxy_service_name', other.name)]
				: [
						`${install} -c ${instance.directory}${name === 'tlsproxy' ? '' : ` -s ${name}`}`,
						`or, for stock: postconf -c ${instance.directory} -M ${name}/unix="${name} unix - - n - 0 tlsproxy"`,
					],
	};
}

function checkEntry(instance: PostfixInstance, {service, clients}: ProxyService): readonly Finding[] {
	const found: Finding[] = [];
	if (!service.isPrivate) {
		found.push({
			fact: `The service ${service.title} is not private, and clients connect to private/${service.name} (${titles(clients)}).`,
			effect: NO_SERVICE,
			repair: [`postconf -c ${instance.directory} -F ${service.title}/private=y`],
		});
	}

	if (isDisabled(instance, service)) {
		found.push({
			fact: `master_service_disable turns ${service.title} off (${titles(clients)}).`,
			effect: NO_SERVICE,
			repair: [`postconf -c ${instance.directory} -e master_service_disable=`],
		});
	}

	if (!/(^|\/)tlsproxy$/.test(service.command)) {
		found.push({
			fact: `The service ${service.title} runs ${service.command}, which is not tlsproxy(8).`,
			effect: NO_SERVICE,
			repair: [`postconf -c ${instance.directory} -F ${service.title}/command=tlsproxy`],
		});
	}

	return found;
}

function checkProgram(
	instance: PostfixInstance,
	{service, program, isThisProgram}: ProxyService,
	install: string,
): readonly Finding[] {
	const path = join(instance.value('daemon_directory'), service.command);
	const reinstall = `${install} -c ${instance.directory}${service.name === 'tlsproxy' ? '' : ` -s ${service.name}`}`;
	if (program === undefined) {
		return isAbsent(path)
			? [
					{
						fact: `The program of ${service.title} does not exist: ${path}.`,
						effect: `master(8) cannot start it. ${NO_SERVICE}`,
						repair: [reinstall],
					},
				]
			: [];
	}

	if (!isExecutable(program)) {
		return [
			{
				fact: `The program of ${service.title} is not an executable file: ${program}.`,
				effect: `master(8) cannot start it. ${NO_SERVICE}`,
				repair: [`chmod 755 ${program}`],
			},
		];
	}

	const reason = isThisProgram ? unsafeTree(dirname(program)) : unsafeReason(program);
	return reason === undefined
		? []
		: [
				{
					fact: `${reason}, and master(8) runs ${program} as root.`,
					effect: 'A user who can change the program can become root.',
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

		/* This user may not read a directory of the program. */
		return undefined;
	}
}

/* Stock requires 0. This program works with any limit; one process uses one core. */
function checkLimit(
	instance: PostfixInstance,
	{service, isThisProgram, program}: ProxyService,
): readonly Finding[] {
	const {title, limit} = service;
	if (program !== undefined && !isThisProgram && limit !== 0) {
		return [
			{
				fact: `The service ${title} has a process limit of ${limit}, and stock tlsproxy(8) must have no limit.`,
				effect: `It ends with an error. ${NO_SERVICE}`,
				repair: [`postconf -c ${instance.directory} -F ${title}/process_limit=0`],
			},
		];
	}

	return isThisProgram && limit === 1
		? [
				{
					fact: `The service ${title} has a process limit of 1.`,
					effect: 'All handshakes wait for one processor core.',
					repair: [`postconf -c ${instance.directory} -F ${title}/process_limit=2`],
				},
			]
		: [];
}

/* The parameters have other names since Postfix 3.7. */
function checkClientRole({service, clients}: ProxyService): readonly Finding[] {
	const release = minorRelease(service.value('mail_version'));
	const names = clientRoleNames(name => isIn(release, parameterOf(name)));
	const level = service.value(names.level);
	const isEnabled = isClientRoleEnabled({
		level,
		useTls: isYes(service.value('tlsproxy_client_use_tls')),
		enforceTls: isYes(service.value('tlsproxy_client_enforce_tls')),
		policy: service.value(names.policy),
		perSite: service.value('tlsproxy_client_per_site'),
	});
	const affected = clients.filter(
		client => !['', 'none'].includes(client.programValue('tls_security_level').toLowerCase()),
	);
	return isEnabled || affected.length === 0
		? []
		: [
				{
					fact: `${names.level} is ${level === '' ? 'empty' : `"${level}"`} for ${service.title}, which turns its client role off (${titles(affected)} use TLS).`,
					effect: NO_SERVICE,
					repair: [service.set(names.level, 'may')],
				},
			];
}
