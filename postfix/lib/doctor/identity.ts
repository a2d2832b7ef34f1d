/*++
/* NAME
/*	identity 3
/* SUMMARY
/*	check the certificates of an instance
/* DESCRIPTION
/*	Each request of a client contains the names of its certificate
/*	files. The files must exist when tlsproxy(8) starts. A directory of
/*	certification authorities must exist inside the chroot jail,
/*	because it is searched during handshakes. Stock has one identity
/*	per service; this program has one per client.
/* SEE ALSO
/*	postfix src/tlsproxy/tlsproxy.c, tlsp_client_init()
/*--*/

import {createPrivateKey, X509Certificate} from 'node:crypto';
import {readFileSync, statSync} from 'node:fs';
import {join} from 'node:path';
import {splitList} from '../../../src/base/text.ts';
import {type Client, type Finding, type PostfixInstance, titles} from './postfix-instance.ts';
import {type ProxyService, proxyServices} from './service.ts';

const FILES = [
	'chain_files',
	'cert_file',
	'key_file',
	'dcert_file',
	'dkey_file',
	'eccert_file',
	'eckey_file',
];

/* Parameters that must have the same value in a client and, with the prefix tlsproxy_client_, in stock. Source: TLS_CLIENT_INIT_PROPS. */
const SETTINGS = [...FILES, 'CAfile', 'CApath', 'loglevel', 'scert_verifydepth', 'fingerprint_digest'];

/** Checks the certificates of all clients. */
export function checkIdentities(instance: PostfixInstance): readonly Finding[] {
	return proxyServices(instance).flatMap(proxy => [
		...proxy.clients.flatMap(client => [...missingFiles(client), ...wrongKeys(client)]),
		...(proxy.isThisProgram || proxy.program === undefined ? [] : differentIdentities(proxy)),
		...(proxy.service.chroot ? missingInJail(instance, proxy) : []),
	]);
}

function fileNames(
	client: Client,
	kinds: readonly string[],
): ReadonlyArray<readonly [kind: string, path: string]> {
	return kinds.flatMap(kind => {
		const value = client.programValue(`tls_${kind}`);
		/* chain_files is a list. "none" means no certificate. */
		return (kind === 'chain_files' ? splitList(value) : [value])
			.filter(path => path !== '' && path !== 'none')
			.map(path => [`${client.program}_tls_${kind}`, path] as const);
	});
}

function missingFiles(client: Client): readonly Finding[] {
	return fileNames(client, [...FILES, 'CAfile', 'CApath']).flatMap(([name, path]) =>
		exists(path)
			? []
			: [
					{
						fact: `${name} is ${path}, which does not exist.`,
						services: [client],
						/* In Postfix, a chain file that cannot be opened is not an error. */
						effect: name.endsWith('chain_files')
							? 'tlsproxy(8) makes the connections of this client without that certificate.'
							: 'tlsproxy(8) refuses the requests of this client.',
						repair: [client.set(name, '')],
					},
				],
	);
}

/* True if this user may not search a directory of the path: then nothing is known. */
function exists(path: string): boolean {
	try {
		statSync(path);
		return true;
	} catch (reason) {
		return (reason as NodeJS.ErrnoException).code !== 'ENOENT';
	}
}

/* Reports nothing if this user cannot read the keys. */
function wrongKeys(client: Client): readonly Finding[] {
	if (client.programValue('tls_chain_files') !== '') {
		return [];
	}

	return ['', 'ec', 'd'].flatMap(kind => {
		const certificate = client.programValue(`tls_${kind}cert_file`);
		const key = client.programValue(`tls_${kind}key_file`) || certificate;
		if (certificate === '' || certificate === 'none') {
			return [];
		}

		try {
			const matches = new X509Certificate(readFileSync(certificate)).checkPrivateKey(
				createPrivateKey(readFileSync(key)),
			);
			return matches
				? []
				: [
						{
							fact: `The key in ${key} does not belong to the certificate in ${certificate}.`,
							services: [client],
							effect: 'tlsproxy(8) refuses the requests of this client.',
							repair: [client.set(`${client.program}_tls_${kind}key_file`, 'PATH OF THE KEY')],
						},
					];
		} catch {
			return [];
		}
	});
}

/* Stock logs "unexpected settings", and opens the files without privileges, inside the chroot jail if it has one. */
function differentIdentities({service, clients}: ProxyService): readonly Finding[] {
	return clients.flatMap(client => {
		const different = SETTINGS.filter(
			name => client.programValue(`tls_${name}`) !== service.value(`tlsproxy_client_${name}`),
		);
		const [first] = different;
		return first === undefined
			? []
			: [
					{
						fact: `Stock tlsproxy(8) has one identity, and that of ${client.title} differs: ${different
							.map(name => `${client.program}_tls_${name}`)
							.join(', ')}.`,
						effect:
							'It logs "unexpected settings", and opens the files of the request without privileges. If only root can read the key, every handshake of this client fails.',
						repair: [
							service.set(`tlsproxy_client_${first}`, client.programValue(`tls_${first}`)),
							'or use a separate tlsproxy service, or this program, which has one identity per client',
						],
					},
				];
	});
}

/* Files are read before the process enters its jail. A directory is searched inside the jail, when a chain is verified. */
function missingInJail(instance: PostfixInstance, {service, clients}: ProxyService): readonly Finding[] {
	const queue = instance.value('queue_directory');
	const verifying = clients.filter(
		client =>
			['verify', 'secure'].includes(client.programValue('tls_security_level').toLowerCase()) ||
			client.programValue('tls_policy_maps') !== '',
	);
	return [...Map.groupBy(verifying, client => client.programValue('tls_CApath'))].flatMap(
		([path, affected]) =>
			path === '' || !exists(path) || exists(join(queue, path))
				? []
				: [
						{
							fact: `${service.title} runs in a jail, and ${path} does not exist there: ${join(queue, path)} (${titles(affected)}).`,
							effect: 'No certificate can be verified. At "verify" and "secure", mail is deferred.',
							repair: [
								`postconf -c ${instance.directory} -F ${service.title}/chroot=n`,
								...affected.map(client =>
									client.set(`${client.program}_tls_CAfile`, '/etc/ssl/certs/ca-certificates.crt'),
								),
							],
						},
					],
	);
}
