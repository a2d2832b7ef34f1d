/*++
/* NAME
/*	postconf-output 3
/* SUMMARY
/*	what postconf(1) has printed while this process was started
/* DESCRIPTION
/*	The supervisor runs postconf(1) while Node.js starts: all
/*	parameters, then what "-M" and "-P" give, each followed by a null
/*	byte when the command has succeeded. That is the configuration of
/*	the moment at which master(8) started this process, and no older.
/*
/*	When anything is missing, nothing is used: whoever needs it runs
/*	the command himself, and finds out what is wrong.
/* SEE ALSO
/*	postconf(3), services(3), supervisor.sh
/*--*/

import type {MasterFile} from './services.ts';

/** The configuration, as lines. */
export interface PostconfOutput {
	/** A line per parameter. */
	readonly parameters: readonly string[];
	readonly master: MasterFile;
}

/** Takes apart what was printed; undefined when it is not complete. */
export function parsePostconfOutput(text: string): PostconfOutput | undefined {
	const [parameters, services, settings, ...end] = text.split('\0');
	if (
		parameters === undefined ||
		services === undefined ||
		settings === undefined ||
		end.length !== 1 ||
		end[0] !== ''
	) {
		return undefined;
	}

	return {
		parameters: linesIn(parameters),
		master: {services: linesIn(services), settings: linesIn(settings)},
	};
}

function linesIn(text: string): readonly string[] {
	return text.split('\n').filter(line => line !== '');
}
