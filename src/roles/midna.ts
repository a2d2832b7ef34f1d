/*++
/* NAME
/*	midna 3
/* SUMMARY
/*	internationalized domain names, as in the installed Postfix
/* DESCRIPTION
/*	Loads the ICU library that Postfix is linked with, and defines the
/*	functions of main.cf that convert domain names. Must be called
/*	before values that may use them are expanded, and before the
/*	process enters the jail, where no library can be loaded.
/*
/*	Measured with ICU 72: the start takes 1.4 ms longer, of which
/*	0.6 ms are for finding the name of the library. The process uses
/*	0.25 MB of private memory, and 1 MB of mapped files that it shares
/*	with the other daemons of Postfix.
/* SEE ALSO
/*	midna-domain(3), expand(3)
/*	postfix src/util/mac_midna.c, src/global/mail_params.c
/*--*/

import {errorText, fromBytes, toBytes} from '../base/text.ts';
import type {Configuration} from '../conf/configuration.ts';
import {addNamedFunction} from '../conf/expand.ts';
import {linkedLibicuuc, linkedLibssl} from '../conf/linkage.ts';
import {warning} from '../log/log.ts';
import {domainToAscii, domainToUtf8, hasEai, isAscii, loadIcu, prepareIcu} from '../tls/midna-domain.ts';

/**
 * Turns on the conversion of names if the installed Postfix converts names.
 *
 * @returns whether smtputf8_enable is in effect.
 */
export function loadMidna(configuration: Configuration): boolean {
	const library = linkedLibicuuc(configuration);
	let enabled = configuration.boolean('smtputf8_enable');
	if (library === undefined) {
		/* Without libssl the search has failed: whether Postfix is linked with ICU is unknown. */
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

/* A failure is not fatal: only names that are not ASCII match nothing then. */
function load(library: string, transitional: boolean): void {
	try {
		loadIcu(library, transitional);
	} catch (reason) {
		warning(
			`domain names are not converted to ASCII: cannot load ${library}, which Postfix is linked with: ${errorText(reason)}`,
		);
	}
}

/* Values of main.cf are text in this program, and bytes in Postfix and in names. */
function converted(convert: (name: string) => string | undefined, text: string): string | undefined {
	const name = convert(toBytes(text));
	return name === undefined ? undefined : fromBytes(name);
}
