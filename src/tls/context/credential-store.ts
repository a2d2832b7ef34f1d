/*++
/* NAME
/*	credential-store 3
/* SUMMARY
/*	identities and authorities that were loaded as root
/* DESCRIPTION
/*	In the jail a process can read neither the keys of its clients
/*	nor, as a rule, the certificates that they trust. So the files that
/*	any client is configured with are loaded before, each set of files
/*	once, into a context of its own that makes no connection. A request
/*	that names the same files gets them from there, whatever its other
/*	settings are. Names are compared as Postfix uses them: chain_files
/*	is a list, every other setting is the name of one file.
/*
/*	A set that could not be loaded does not affect other sets. As with
/*	stock, each request for it reads the files again, with the
/*	privileges that are left.
/* SEE ALSO
/*	certificates(3), ssl-context(3)
/*--*/

import {Owned} from '../../base/owned.ts';
import {
	copyCertStore,
	copyIdentity,
	hasIdentity,
	SSL_CTX_free,
	SSL_CTX_new,
	SSL_CTX_set_security_level,
	type SslCtx,
	TLS_client_method,
} from '../../ffi/openssl/ssl-ctx.ts';
import {warning} from '../../log/log.ts';
import {printErrors} from '../library.ts';
import {loadAuthorities, loadIdentity} from './certificates.ts';
import {
	type AuthorityFiles,
	authorityKey,
	authoritySettings,
	type IdentityFiles,
	identityKey,
	identitySettings,
	namedFiles,
} from './named-files.ts';

/** The files that a client's settings name. */
export interface CredentialFileNames extends IdentityFiles, AuthorityFiles {}

interface Entry {
	/** What was loaded; undefined if there was nothing that can be used. */
	readonly ctx: Owned<SslCtx> | undefined;
	/** Whether Postfix would go on. */
	readonly result: boolean;
}

/** What was loaded before the jail. */
export class CredentialStore implements Disposable {
	readonly #identities = new Map<string, Entry>();
	readonly #authorities = new Map<string, Entry>();

	/**
	 * Loads the files of a client, unless they are here.
	 *
	 * @param appendDefault - tls_append_default_CA.
	 * @returns false when something could not be loaded; the reason has been logged.
	 */
	load(files: CredentialFileNames, appendDefault: boolean): boolean {
		const named = namedFiles(files).length > 0;
		const identity = find(
			this.#identities,
			identityKey(files),
			ctx => loadIdentity(ctx, files),
			ctx => !named || hasIdentity(ctx),
		);
		const authorities = find(this.#authorities, authorityKey(files, appendDefault), ctx =>
			loadAuthorities(ctx, files.CAfile, files.CApath, appendDefault),
		);
		return identity.result && authorities.result;
	}

	/** Whether load() was called for all files that a client names, with or without success. */
	has(files: CredentialFileNames, appendDefault: boolean): boolean {
		return (
			(namedFiles(files).length === 0 || this.#identities.has(identityKey(files))) &&
			((files.CAfile === '' && files.CApath === '') ||
				this.#authorities.has(authorityKey(files, appendDefault)))
		);
	}

	/**
	 * Which of the files that a client names could not be used when they were loaded, as settings for the
	 * log; undefined if all could. A list of chain files that cannot be opened is not an error for Postfix:
	 * such a client is served without a certificate.
	 *
	 * @param prefix - of the names of the parameters.
	 */
	problemWith(files: CredentialFileNames, appendDefault: boolean, prefix: string): string | undefined {
		const problems: string[] = [];
		if (namedFiles(files).length > 0 && this.#identities.get(identityKey(files))?.ctx === undefined) {
			problems.push(...identitySettings(files, prefix));
		}

		const named = files.CAfile !== '' || files.CApath !== '';
		if (named && this.#authorities.get(authorityKey(files, appendDefault))?.ctx === undefined) {
			problems.push(...authoritySettings(files, prefix));
		}

		return problems.length === 0 ? undefined : problems.join('; ');
	}

	/**
	 * Gives a context the identity that its settings name. Reads the files if they are not here.
	 *
	 * @returns false when there is none to give; the reason has been logged.
	 */
	applyIdentity(ctx: SslCtx, files: IdentityFiles): boolean {
		const loaded = this.#identities.get(identityKey(files))?.ctx;
		if (loaded === undefined) {
			return loadIdentity(ctx, files);
		}

		if (!copyIdentity(loaded.value, ctx)) {
			warning(`${namedFiles(files).join(', ')}: cannot be used again: disabling TLS support`);
			printErrors();
			return false;
		}

		return true;
	}

	/** The same for trusted certificates. */
	applyAuthorities(ctx: SslCtx, files: CredentialFileNames, appendDefault: boolean): boolean {
		const loaded = this.#authorities.get(authorityKey(files, appendDefault))?.ctx;
		if (loaded === undefined) {
			return loadAuthorities(ctx, files.CAfile, files.CApath, appendDefault);
		}

		copyCertStore(loaded.value, ctx);
		return true;
	}

	[Symbol.dispose](): void {
		for (const entries of [this.#identities, this.#authorities]) {
			for (const entry of entries.values()) {
				entry.ctx?.[Symbol.dispose]();
			}

			entries.clear();
		}
	}
}

function find(
	entries: Map<string, Entry>,
	key: string,
	load: (ctx: SslCtx) => boolean,
	isUsable: (ctx: SslCtx) => boolean = () => true,
): Entry {
	const entry = entries.get(key) ?? make(load, isUsable);
	entries.set(key, entry);
	return entry;
}

function make(load: (ctx: SslCtx) => boolean, isUsable: (ctx: SslCtx) => boolean): Entry {
	const made = SSL_CTX_new(TLS_client_method());
	if (made === null) {
		warning('cannot allocate client SSL_CTX: disabling TLS support');
		printErrors();
		return {ctx: undefined, result: false};
	}

	using ctx = new Owned(made, SSL_CTX_free);
	/* What is good enough is decided by the settings of connections. */
	SSL_CTX_set_security_level(made, 0);
	const result = load(made);
	return {ctx: result && isUsable(made) ? ctx.move() : undefined, result};
}
