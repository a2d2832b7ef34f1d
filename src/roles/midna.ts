/*++
/* NAME
/*	midna 3
/* SUMMARY
/*	internationalized domain names, as the installed Postfix has them
/* DESCRIPTION
/*	Loads the ICU library that Postfix is linked with, and defines the
/*	functions of main.cf that convert domain names. To be called before
/*	values that may use them are expanded, and before the jail: in it
/*	no library can be loaded.
/*
/*	Measured with ICU 72: 1.4 ms of a start, 0.6 ms of which are for
/*	finding the name of the library; 0.25 MB of memory that a process
/*	has for itself, and 1 MB of files that the other daemons of Postfix
/*	have mapped, too.
/* SEE ALSO
/*	midna-domain(3), expand(3)
/*	postfix src/util/mac_midna.c, src/global/mail_params.c
/*--*/

import type {Configuration} from '../conf/configuration.ts';
import {addNamedFunction} from '../conf/expand.ts';
import {linkedLibicuuc, linkedLibssl} from '../conf/linkage.ts';
import {warning} from '../log/log.ts';
import {domainToAscii, domainToUtf8, hasEai, isAscii, loadIcu, prepareIcu} from '../tls/midna-domain.ts';

/**
 * Makes names be converted, if the installed Postfix converts names.
 *
 * @returns whether smtputf8_enable is in effect.
 */
export function loadMidna(configuration: Configuration): boolean {
	const library = linkedLibicuuc(configuration);
	let enabled = configuration.boolean('smtputf8_enable');
	if (library === undefined) {
		/* Where not even a libssl is found, nothing is known about the installed Postfix. */
		if (enabled && linkedLibssl(configuration) !== undefined) {
			warning('smtputf8_enable is true, but EAI support is not compiled in');
			enabled = false;
		}
	} else {
		load(library, configuration.boolean('enable_idna2003_compatibility'));
		if (enabled) {
			prepareIcu();
		}
	}

	if (configuration.features.domainFunctions) {
		addNamedFunction('domain_to_ascii', text =>
			hasEai() && !isAscii(text) ? converted(domainToAscii, text) : text,
		);
		addNamedFunction('domain_to_utf8', text =>
			hasEai() && isAscii(text) ? converted(domainToUtf8, text) : text,
		);
	}

	return enabled;
}

/* Names that are not converted match nothing: no reason to serve nobody. */
function load(library: string, transitional: boolean): void {
	try {
		loadIcu(library, transitional);
	} catch (reason) {
		const why = reason instanceof Error ? reason.message : String(reason);
		warning(
			`domain names are not converted to ASCII: cannot load ${library}, which Postfix is linked with: ${why}`,
		);
	}
}

/* Values are text here, and bytes in Postfix. */
function converted(convert: (name: string) => string | undefined, text: string): string | undefined {
	const name = convert(Buffer.from(text).toString('latin1'));
	return name === undefined ? undefined : Buffer.from(name, 'latin1').toString();
}
