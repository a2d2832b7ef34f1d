/*++
/* NAME
/*	certificates 3
/* SUMMARY
/*	own certificates and keys, and trusted certificates, of a context
/* DESCRIPTION
/*	Loads what the settings name into an SSL_CTX. chain_files, when
/*	given, replaces the three older pairs of certificate and key file.
/*	A pair whose two names are equal is read like a chain file, with
/*	the key anywhere in it.
/* DIAGNOSTICS
/*	false: the reason has been logged, and the context is of no use.
/* SEE ALSO
/*	postfix src/tls/tls_certkey.c
/*--*/

import {readFileSync} from 'node:fs';
import {
	BIO_free,
	BIO_new_file,
	decodeCertificate,
	decodePrivateKey,
	ERR_clear_error,
	EVP_PKEY_free,
	EVP_PKEY_RSA,
	type EvpPkey,
	nonNull,
	OPENSSL_sk_free,
	OPENSSL_sk_new_null,
	OPENSSL_sk_push,
	readPem,
	type X509,
	X509_free,
} from '../ffi/libcrypto.ts';
import {
	SSL_CTX_check_private_key,
	SSL_CTX_load_verify_locations,
	SSL_CTX_set_default_verify_paths,
	SSL_CTX_use_cert_and_key,
	SSL_CTX_use_certificate_chain_file,
	SSL_CTX_use_PrivateKey_file,
	SSL_FILETYPE_PEM,
	type SslCtx,
} from '../ffi/libssl.ts';
import {info, warning} from '../log.ts';
import {printErrors} from './library.ts';
import {wordsOf} from './settings.ts';

/** The files of one identity. Names as on the wire. */
export interface IdentityFiles {
	readonly chain_files: string;
	readonly cert_file: string;
	readonly key_file: string;
	readonly dcert_file: string;
	readonly dkey_file: string;
	readonly eccert_file: string;
	readonly eckey_file: string;
}

/**
 * Loads trusted certificates.
 *
 * @param appendDefault - also trust what the system trusts; without effect when both names are empty.
 * Source: tls_set_ca_certificate_info(), postfix src/tls/tls_certkey.c.
 */
export function loadAuthorities(
	ctx: SslCtx,
	CAfile: string,
	CApath: string,
	appendDefault: boolean,
): boolean {
	if (CAfile === '' && CApath === '') {
		return true;
	}

	const file = CAfile === '' ? null : CAfile;
	const path = CApath === '' ? null : CApath;
	if (SSL_CTX_load_verify_locations(ctx, file, path) !== 1) {
		const names = [
			file === null ? [] : [`CAfile="${file}"`],
			path === null ? [] : [`CApath="${path}"`],
		].flat();
		info(`cannot load Certification Authority data, ${names.join(', ')}: disabling TLS support`);
		printErrors();
		return false;
	}

	if (appendDefault && SSL_CTX_set_default_verify_paths(ctx) !== 1) {
		info('cannot set default OpenSSL certificate verification paths: disabling TLS support');
		printErrors();
		return false;
	}

	return true;
}

/** Loads the identity, if there is one. Source: tls_set_my_certificate_key_info(), postfix src/tls/tls_certkey.c. */
export function loadIdentity(ctx: SslCtx, files: IdentityFiles): boolean {
	if (files.chain_files !== '') {
		return loadChain(ctx, wordsOf(files.chain_files), 'chain', files.chain_files);
	}

	return (
		loadPair(ctx, 'RSA', files.cert_file, files.key_file) &&
		loadPair(ctx, 'DSA', files.dcert_file, files.dkey_file) &&
		loadPair(ctx, 'ECDSA', files.eccert_file, files.eckey_file)
	);
}

/** The files that the settings name, for messages. */
export function namedFiles(files: IdentityFiles): readonly string[] {
	return [
		...wordsOf(files.chain_files),
		files.cert_file,
		files.key_file,
		files.dcert_file,
		files.dkey_file,
		files.eccert_file,
		files.eckey_file,
	].filter(name => name !== '');
}

function loadPair(ctx: SslCtx, label: string, certificate: string, key: string): boolean {
	if (certificate === '') {
		return true;
	}

	if (certificate === key) {
		return loadChain(ctx, [certificate], 'mixed', certificate);
	}

	ERR_clear_error();
	const complaint =
		SSL_CTX_use_certificate_chain_file(ctx, certificate) !== 1
			? `cannot get ${label} certificate from file "${certificate}": disabling TLS support`
			: SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) !== 1
				? `cannot get ${label} private key from file "${key}": disabling TLS support`
				: SSL_CTX_check_private_key(ctx) !== 1
					? `${label} private key in ${key} does not match public key in ${certificate}: disabling TLS support`
					: undefined;
	if (complaint === undefined) {
		return true;
	}

	warning(complaint);
	printErrors();
	return false;
}

/* Keys of the traditional PEM labels; undefined stands for PKCS#8. Source: openssl/evp.h. */
const keyLabels: ReadonlyMap<string, number | undefined> = new Map([
	['PRIVATE KEY', undefined],
	['RSA PRIVATE KEY', EVP_PKEY_RSA],
	['EC PRIVATE KEY', 408],
	['DSA PRIVATE KEY', 116],
]);
const certificateLabels: ReadonlySet<string> = new Set(['CERTIFICATE', 'X509 CERTIFICATE']);

/* A chain that is being collected: its key, and the certificates behind it, leaf first. */
interface Chain {
	key: EvpPkey | undefined;
	keyPlace: string;
	readonly certificates: X509[];
}

/*
 * `chain`: the objects of all files are one sequence of chains, each of which
 * begins with its key. `mixed`: one file, one key, anywhere.
 */
function loadChain(ctx: SslCtx, paths: readonly string[], mode: 'chain' | 'mixed', origin: string): boolean {
	ERR_clear_error();
	const chain: Chain = {key: undefined, keyPlace: '', certificates: []};
	try {
		for (const path of paths) {
			if (!readable(path)) {
				/* The C program serves what it has loaded so far when a chain file cannot be opened; so do we. */
				if (mode === 'mixed') {
					return failed(origin);
				}

				break;
			}

			if (!loadFile(ctx, path, mode, chain)) {
				return failed(origin);
			}
		}

		if (chain.key === undefined && chain.certificates.length === 0) {
			return true;
		}

		return (complaintAboutEnd(ctx, chain, origin) ?? true) ? true : failed(origin);
	} finally {
		releaseChain(chain);
		ERR_clear_error();
	}
}

function readable(path: string): boolean {
	try {
		readFileSync(path);
		return true;
	} catch (reason) {
		const text =
			reason instanceof Error && 'code' in reason ? errnoText(String(reason.code)) : String(reason);
		warning(`error opening chain file: ${path}: ${text}`);
		return false;
	}
}

function errnoText(code: string): string {
	switch (code) {
		case 'ENOENT':
			return 'No such file or directory';
		case 'EACCES':
			return 'Permission denied';
		case 'EISDIR':
			return 'Is a directory';
		default:
			return code;
	}
}

function loadFile(ctx: SslCtx, path: string, mode: 'chain' | 'mixed', chain: Chain): boolean {
	const bio = nonNull(BIO_new_file(path, 'r'), 'BIO_new_file');
	let index = 0;
	try {
		for (let object = readPem(bio); object !== undefined; object = readPem(bio)) {
			index++;
			const place = `index ${index} in ${path}`;
			if (certificateLabels.has(object.label)) {
				const decoded = decodeCertificate(object.der);
				if (!complete(decoded, 'certificate', index, path)) {
					return false;
				}

				if (mode === 'chain' && chain.key === undefined) {
					X509_free(decoded.object);
					warning(`error loading chain from ${path}: key not first`);
					return false;
				}

				chain.certificates.push(decoded.object);
			} else if (keyLabels.has(object.label)) {
				const decoded = decodePrivateKey(object.der, keyLabels.get(object.label));
				if (!complete(decoded, 'private key', index, path)) {
					return false;
				}

				if (!addKey(ctx, chain, decoded.object, place, mode)) {
					return false;
				}
			} else if (mode === 'chain') {
				warning(`loading ${path}: ignoring PEM type: ${object.label}`);
			}
		}
	} finally {
		BIO_free(bio);
		ERR_clear_error();
	}

	if (index === 0) {
		warning(`No PEM data in ${path}`);
	}

	return index > 0;
}

function complete<P extends bigint>(
	decoded: {readonly object: P; readonly excess: number} | undefined,
	what: string,
	index: number,
	path: string,
): decoded is {readonly object: P; readonly excess: 0} {
	if (decoded !== undefined && decoded.excess === 0) {
		return true;
	}

	const excess = decoded === undefined ? '' : ': excess data';
	warning(`error loading ${what} (PEM object number ${index}) from ${path}${excess}`);
	printErrors();
	return false;
}

function addKey(ctx: SslCtx, chain: Chain, key: EvpPkey, place: string, mode: 'chain' | 'mixed'): boolean {
	if (chain.key !== undefined) {
		if (mode === 'mixed') {
			warning(`ignoring 2nd key at ${place} after 1st at ${chain.keyPlace}`);
			EVP_PKEY_free(key);
			return true;
		}

		if (chain.certificates.length === 0) {
			EVP_PKEY_free(key);
			warning(`error loading certificate chain: key at ${chain.keyPlace} not followed by a certificate`);
			return false;
		}

		const problem = complaintAboutEnd(ctx, chain, place);
		releaseChain(chain);
		if (problem === false) {
			EVP_PKEY_free(key);
			return false;
		}
	}

	chain.key = key;
	chain.keyPlace = place;
	return true;
}

/* Gives a complete chain to the context: undefined when that worked, false when it was refused and logged. */
function complaintAboutEnd(ctx: SslCtx, chain: Chain, origin: string): false | undefined {
	const [leaf, ...issuers] = chain.certificates;
	if (chain.key === undefined) {
		warning(`No private key found in ${origin}`);
		return false;
	}

	if (leaf === undefined) {
		warning(`No certs for key at ${chain.keyPlace}`);
		return false;
	}

	const stack = nonNull(OPENSSL_sk_new_null(), 'OPENSSL_sk_new_null');
	for (const issuer of issuers) {
		OPENSSL_sk_push(stack, issuer);
	}

	const used = SSL_CTX_use_cert_and_key(ctx, leaf, chain.key, stack, 0) === 1;
	OPENSSL_sk_free(stack);
	if (!used) {
		warning(`key at ${chain.keyPlace} does not match next certificate`);
		printErrors();
	}

	return used ? undefined : false;
}

function releaseChain(chain: Chain): void {
	for (const certificate of chain.certificates.splice(0)) {
		X509_free(certificate);
	}

	if (chain.key !== undefined) {
		EVP_PKEY_free(chain.key);
		chain.key = undefined;
	}
}

function failed(origin: string): false {
	warning(`error loading private keys and certificates from: ${origin}: disabling TLS support`);
	return false;
}
