/*++
/* NAME
/*	library 3
/* SUMMARY
/*	initializes the OpenSSL library and logs its error queue
/* DESCRIPTION
/*	OpenSSL initializes itself once, on first use, and cannot be
/*	configured afterwards. So tls_config_file and tls_config_name are
/*	applied before any other call. The first result applies for the
/*	lifetime of the process.
/* SEE ALSO
/*	postfix src/tls/tls_misc.c, tls_library_init()
/*--*/

import {
	drainErrors,
	nonNull,
	OPENSSL_INIT_free,
	OPENSSL_INIT_new,
	OPENSSL_INIT_set_config_appname,
	OPENSSL_INIT_set_config_file_flags,
	OPENSSL_INIT_set_config_filename,
} from '../ffi/openssl/libcrypto.ts';
import {OPENSSL_INIT_NO_LOAD_CONFIG, OPENSSL_init_ssl} from '../ffi/openssl/ssl.ts';
import {warning} from '../log/log.ts';
import {isBlockingFile, NOT_REGULAR} from './blocking-file.ts';

/* Flags for a missing file or section. Source: openssl/conf.h. */
const CONF_MFLAGS_IGNORE_RETURN_CODES = 0x2;
const CONF_MFLAGS_SILENT = 0x4;
const CONF_MFLAGS_IGNORE_MISSING_FILE = 0x10;
const CONF_MFLAGS_DEFAULT_SECTION = 0x20;
const LENIENT =
	CONF_MFLAGS_IGNORE_RETURN_CODES |
	CONF_MFLAGS_SILENT |
	CONF_MFLAGS_IGNORE_MISSING_FILE |
	CONF_MFLAGS_DEFAULT_SECTION;

/** Logs and empties the error queue. Source: tls_print_errors(), postfix src/tls/tls_misc.c. */
export function printErrors(): void {
	for (const entry of drainErrors()) {
		warning(`TLS library problem: ${entry}`);
	}
}

/* The result of the first call of startLibrary(): OpenSSL has one state per process. */
let started: boolean | undefined;

/**
 * Initializes the library. Only the first call has an effect; later calls return its result.
 *
 * @param configFile - tls_config_file: `default`, `none` or an absolute path.
 * @param configName - tls_config_name: the application section, or empty.
 * @returns false if TLS cannot be used; the reason has been logged.
 */
export function startLibrary(configFile: string, configName: string): boolean {
	started ??= start(configFile, configName);
	return started;
}

function start(configFile: string, configName: string): boolean {
	if (configFile === 'none') {
		return initialize(OPENSSL_INIT_NO_LOAD_CONFIG, () => true, 'none', configName);
	}

	if (configFile === 'default') {
		return (
			configName === '' ||
			initialize(
				0,
				settings => {
					OPENSSL_INIT_set_config_file_flags(settings, LENIENT);
					return OPENSSL_INIT_set_config_appname(settings, configName) === 1;
				},
				configFile,
				configName,
			)
		);
	}

	if (!configFile.startsWith('/')) {
		warning(`non-default tls_config_file = ${configFile} is not an absolute pathname, disabling TLS support`);
		return false;
	}

	return initialize(
		0,
		settings => {
			OPENSSL_INIT_set_config_file_flags(settings, 0);
			return (
				OPENSSL_INIT_set_config_filename(settings, configFile) === 1 &&
				(configName === '' || OPENSSL_INIT_set_config_appname(settings, configName) === 1)
			);
		},
		configFile,
		configName,
	);
}

function initialize(
	options: number,
	prepare: (settings: ReturnType<typeof newSettings>) => boolean,
	file: string,
	name: string,
): boolean {
	const settings = newSettings();
	if (!prepare(settings)) {
		OPENSSL_INIT_free(settings);
		warning('error initializing the OpenSSL library, disabling TLS support');
		printErrors();
		return false;
	}

	const blocks = file.startsWith('/') && isBlockingFile(file);
	const done =
		!blocks && OPENSSL_init_ssl(options, options === OPENSSL_INIT_NO_LOAD_CONFIG ? null : settings) === 1;
	OPENSSL_INIT_free(settings);
	if (!done) {
		const section = name === '' ? 'default' : name;
		warning(
			`error loading the '${section}' settings from the ${file} OpenSSL configuration file, disabling TLS support`,
		);
		if (blocks) {
			warning(`${file}: ${NOT_REGULAR}`);
		}

		printErrors();
	}

	return done;
}

function newSettings() {
	return nonNull(OPENSSL_INIT_new(), 'OPENSSL_INIT_new');
}
