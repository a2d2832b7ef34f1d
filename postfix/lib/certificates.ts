/*++
/* NAME
/*	certificates 3
/* SUMMARY
/*	temporary certificates for the sandbox
/* DESCRIPTION
/*	Makes a certification authority and a server certificate that it
/*	signed, with openssl(1), in a directory that the caller owns. Every
/*	run makes new ones: the project contains no private keys.
/*--*/

import {readFile, writeFile} from 'node:fs/promises';
import {join} from 'node:path';
import {execa} from 'execa';

/** Types of keys that mail servers use. */
export type KeyType = 'ecdsa' | 'rsa';

/** Paths of PEM files. */
export interface Certificates {
	readonly caFile: string;
	readonly certFile: string;
	/** The server certificate, then the certificate of the authority. */
	readonly chainFile: string;
	readonly keyFile: string;
}

const keyOptions: Readonly<Record<KeyType, readonly string[]>> = {
	ecdsa: ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'],
	rsa: ['-newkey', 'rsa:2048'],
};

/**
 * Makes a certification authority and a server certificate.
 *
 * @param directory - an existing directory for the files.
 * @param hostName - DNS name in the server certificate.
 * @param keyType - type of both keys.
 */
export async function makeCertificates(
	directory: string,
	hostName: string,
	keyType: KeyType = 'ecdsa',
): Promise<Certificates> {
	const [caFile, caKeyFile] = [join(directory, 'ca.pem'), join(directory, 'ca-key.pem')];
	const [certFile, keyFile] = [join(directory, 'cert.pem'), join(directory, 'key.pem')];
	const request = join(directory, 'request.pem');
	const extensions = join(directory, 'extensions.cnf');
	/* The openssl.cnf of the host may prompt for names, or restrict keys. */
	const configuration = join(directory, 'openssl.cnf');
	await writeFile(
		configuration,
		'[req]\ndistinguished_name = name\nprompt = no\n[name]\nCN = unused\n' +
			'[ca]\nbasicConstraints = critical,CA:TRUE\nkeyUsage = critical,keyCertSign,cRLSign\nsubjectKeyIdentifier = hash\n',
	);
	await writeFile(
		extensions,
		`basicConstraints = CA:FALSE\nsubjectAltName = DNS:${hostName},DNS:localhost,IP:127.0.0.1\nextendedKeyUsage = serverAuth,clientAuth\n`,
	);
	const common = ['-config', configuration, '-nodes', '-sha256', ...keyOptions[keyType]];
	await openssl(
		[
			'req',
			'-x509',
			'-extensions',
			'ca',
			'-days',
			'2',
			'-subj',
			'/CN=Sandbox CA',
			'-keyout',
			caKeyFile,
			'-out',
			caFile,
		],
		common,
	);
	await openssl(['req', '-new', '-subj', `/CN=${hostName}`, '-keyout', keyFile, '-out', request], common);
	await openssl(
		['x509', '-req', '-in', request, '-CA', caFile, '-CAkey', caKeyFile, '-set_serial', String(Date.now())],
		['-days', '2', '-sha256', '-extfile', extensions, '-out', certFile],
	);
	const chainFile = join(directory, 'chain.pem');
	await writeFile(chainFile, (await readFile(certFile, 'utf8')) + (await readFile(caFile, 'utf8')));
	return {caFile, certFile, chainFile, keyFile};
}

async function openssl(args: readonly string[], more: readonly string[]): Promise<void> {
	await execa('openssl', [...args, ...more], {env: {OPENSSL_CONF: '/dev/null'}});
}
