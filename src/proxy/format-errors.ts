/*++
/* NAME
/*	format-errors 3
/* SUMMARY
/*	logs why requests of this host cannot be parsed
/* DESCRIPTION
/*	The format of requests depends on the Postfix release. When the
/*	first requests of a process cannot be parsed, the programs of this
/*	host belong to another release than this process assumes: every
/*	other request will fail, too. There is one FormatErrors object
/*	per process.
/* DIAGNOSTICS
/*	Fatal: this program does not know the installed release, and no
/*	request has been parsed yet. Once a request has been parsed, a
/*	warning: sessions are not ended because of one bad request.
/*--*/

import type {ReleaseFeatures} from '../conf/release.ts';
import {fatal, warning} from '../log/log.ts';

/** Logs format errors, depending on whether other requests were parsed. */
export class FormatErrors {
	readonly #features: Pick<ReleaseFeatures, 'known' | 'format' | 'release'>;
	#hasParsed = false;

	/** @param features - of the installed Postfix release. */
	constructor(features: Pick<ReleaseFeatures, 'known' | 'format' | 'release'>) {
		this.#features = features;
	}

	/** A request has been parsed with its settings. */
	parsed(): void {
		this.#hasParsed = true;
	}

	/** Logs that a request cannot be parsed. Ends the process if no request of this host can be. */
	log(): void {
		const {known, format, release} = this.#features;
		if (known) {
			warning(
				`the client does not use the protocol of Postfix ${release}, which is the installed release according to mail_version: after an upgrade, run "postfix reload"`,
			);
			return;
		}

		const line = `Postfix ${release} does not use the protocol of Postfix ${format}, the newest release that this program supports: install a newer version of this program`;
		if (!this.#hasParsed) {
			fatal(line);
		}

		warning(line);
	}
}
