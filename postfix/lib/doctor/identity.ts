/*++
/* NAME
/*	identity 3
/* SUMMARY
/*	certificates: can they be read, by whom, and are they the same?
/* DESCRIPTION
/*	A client sends the names of its files with each request. They have
/*	to be there when tlsproxy(8) starts; a directory of authorities is
/*	looked into at the time of a handshake, in the jail. Stock has one
/*	identity per service; with this program each client has its own.
/* SEE ALSO
/*	postfix src/tlsproxy/tlsproxy.c, tlsp_client_init()
/*--*/

import {createPrivateKey, X509Certificate} from 'node:crypto';
import {readFileSync, statSync} from 'node:fs';
import {join} from 'node:path';
import {splitList} from '../../../src/base/text.ts';
import {type Proxy, proxiesOf} from './service.ts';
import {type Client, type Finding, titles, type View} from './view.ts';

const FILES = [
	'chain_files',
	'cert_file',
	'key_file',
	'dcert_file',
	'dkey_file',
	'eccert_file',
	'eckey_file',
];

/* What has to be the same in a client and in stock's tlsproxy_client_*. Source: TLS_CLIENT_INIT_PROPS. */
const SETTINGS = [...FILES, 'CAfile', 'CApath', 'loglevel', 'scert_verifydepth', 'fingerprint_digest'];

/** Checks certificates. */
export function checkIdentities(view: View): readonly Finding[] {
	return proxiesOf(view).flatMap(proxy => [
		...proxy.users.flatMap(client => [...missingFiles(client), ...wrongKeys(client)]),
		...(proxy.isOurs || proxy.program === undefined ? [] : otherIdentity(proxy)),
		...(proxy.service.chroot ? outsideOfJail(view, proxy) : []),
	]);
}

function fileNames(
	client: Client,
	kinds: readonly string[],
): ReadonlyArray<readonly [kind: string, path: string]> {
	return kinds.flatMap(kind => {
		const value = client.own(`tls_${kind}`);
		/* chain_files is a list. "none" switches a certificate off. */
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
						who: [client],
						/* To Postfix, a chain file that cannot be opened is no error. */
						effect: name.endsWith('chain_files')
							? 'tlsproxy(8) makes the connections of this client without that certificate.'
							: 'tlsproxy(8) refuses the requests of this client.',
						repair: [client.set(name, '')],
					},
				],
	);
}

/* Whoever may not look does not know. */
function exists(path: string): boolean {
	try {
		statSync(path);
		return true;
	} catch (reason) {
		return (reason as NodeJS.ErrnoException).code !== 'ENOENT';
	}
}

/* Only root can read keys. */
function wrongKeys(client: Client): readonly Finding[] {
	if (client.own('tls_chain_files') !== '') {
		return [];
	}

	return ['', 'ec', 'd'].flatMap(kind => {
		const certificate = client.own(`tls_${kind}cert_file`);
		const key = client.own(`tls_${kind}key_file`) || certificate;
		if (certificate === '' || certificate === 'none') {
			return [];
		}

		try {
			const fits = new X509Certificate(readFileSync(certificate)).checkPrivateKey(
				createPrivateKey(readFileSync(key)),
			);
			return fits
				? []
				: [
						{
							fact: `The key in ${key} does not belong to the certificate in ${certificate}.`,
							who: [client],
							effect: 'tlsproxy(8) refuses the requests of this client.',
							repair: [client.set(`${client.program}_tls_${kind}key_file`, 'PATH OF THE RIGHT KEY')],
						},
					];
		} catch {
			return [];
		}
	});
}

/* Stock warns of "unexpected settings", and opens the files without privileges, in the jail if it has one. */
function otherIdentity({service, users}: Proxy): readonly Finding[] {
	return users.flatMap(client => {
		const different = SETTINGS.filter(
			name => client.own(`tls_${name}`) !== service.value(`tlsproxy_client_${name}`),
		);
		const [first] = different;
		return first === undefined
			? []
			: [
					{
						fact: `Stock tlsproxy(8) has one identity, and that of ${client.title} is another: ${different
							.map(name => `${client.program}_tls_${name}`)
							.join(', ')}.`,
						effect:
							'It logs "unexpected settings", and opens the files of the request without privileges. With keys for root only, every handshake of this client fails.',
						repair: [
							service.set(`tlsproxy_client_${first}`, client.own(`tls_${first}`)),
							'or use a tlsproxy service of its own, or this program, which has an identity for each client',
						],
					},
				];
	});
}

/* Files are read before the jail. A directory is searched in it, when a chain is verified. */
function outsideOfJail(view: View, {service, users}: Proxy): readonly Finding[] {
	const queue = view.value('queue_directory');
	const verifying = users.filter(
		client =>
			['verify', 'secure'].includes(client.own('tls_security_level').toLowerCase()) ||
			client.own('tls_policy_maps') !== '',
	);
	return [...Map.groupBy(verifying, client => client.own('tls_CApath'))].flatMap(([path, clients]) =>
		path === '' || !exists(path) || exists(join(queue, path))
			? []
			: [
					{
						fact: `${service.title} runs in a jail, and ${path} does not exist there: ${join(queue, path)} (${titles(clients)}).`,
						effect: 'No certificate is found to be trusted. At "verify" and "secure", mail is deferred.',
						repair: [
							`postconf -c ${view.directory} -F ${service.title}/chroot=n`,
							...clients.map(client =>
								client.set(`${client.program}_tls_CAfile`, '/etc/ssl/certs/ca-certificates.crt'),
							),
						],
					},
				],
	);
}
