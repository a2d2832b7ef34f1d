/*++
/* NAME
/*	configuration 3
/* SUMMARY
/*	typed access to configuration parameters
/* DESCRIPTION
/*	A Configuration contains unexpanded values, in which defaults,
/*	main.cf and the command line are merged. Each getter expands,
/*	converts and checks the value of one parameter. The name of a
/*	parameter of another type does not compile. This module reads no
/*	files and runs no commands.
/* DIAGNOSTICS
/*	ConfigurationError: a value that stock tlsproxy(8) also rejects.
/*	Panic: a parameter that the running release does not have.
/* BUGS
/*	A reference to a parameter of another program expands to its
/*	default. A stock daemon does not know that parameter, and expands
/*	the reference to nothing.
/*--*/

import {ConfigurationError, Panic} from '../base/errors.ts';
import type {Seconds} from '../base/units.ts';
import {facilityNumber} from '../log/facility.ts';
import {parseLevel} from './compatibility-level.ts';
import {toBoolean, toInteger, toSeconds, toText} from './convert.ts';
import {expand} from './expand.ts';
import {
	isIn,
	type NameOf,
	type Parameter,
	type ParameterName,
	parameterNames,
	parameterOf,
} from './parameters.ts';
import {compareReleases, type Release, type ReleaseFeatures, releaseFeatures} from './release.ts';

/** The parameters of a process. */
export class Configuration {
	/** The features of the installed Postfix release. */
	readonly features: ReleaseFeatures;
	readonly #release: Release;
	readonly #shared: ReadonlyMap<string, string>;
	readonly #values: ReadonlyMap<string, string>;

	/**
	 * @param shared - unexpanded values by name, from main.cf and defaults. Includes `mail_version`.
	 * @param overrides - unexpanded values of this process, from its command line and from the process itself.
	 * @throws {ConfigurationError} if `mail_version` is not a release.
	 */
	constructor(shared: ReadonlyMap<string, string>, overrides: ReadonlyMap<string, string> = new Map()) {
		this.#shared = shared;
		const values = new Map([...shared, ...overrides]);
		this.#values = values;
		const version = values.get('mail_version') ?? '';
		const [, major, minor] = /^(\d+)\.(\d+)/.exec(version) ?? [];
		if (major === undefined || minor === undefined) {
			throw new ConfigurationError(`parameter mail_version: unrecognized value: ${version}`);
		}

		this.#release = `${Number(major)}.${Number(minor)}`;
		this.features = releaseFeatures(version);
	}

	/**
	 * The configuration of another service of the same instance.
	 *
	 * @param overrides - unexpanded values that the service has in master.cf.
	 */
	forService(overrides: ReadonlyMap<string, string>): Configuration {
		return new Configuration(
			this.#shared,
			new Map([['config_directory', this.configDirectory], ...overrides]),
		);
	}

	/** The directory of main.cf. */
	get configDirectory(): string {
		return this.#values.get('config_directory') ?? '';
	}

	/** Whether the running release has a parameter, and the parameter has a value. */
	has(name: ParameterName): boolean {
		return isIn(this.#release, parameterOf(name)) && this.#values.has(name);
	}

	/** The value of a string parameter. */
	string(name: NameOf<'string'>): string {
		return toText(name, this.#expanded(name), this.#limits(name));
	}

	/** The value of an integer parameter. */
	integer(name: NameOf<'integer'>): number {
		return toInteger(name, this.#expanded(name), parameterOf(name));
	}

	/** The value of a boolean parameter. */
	boolean(name: NameOf<'boolean'>): boolean {
		return toBoolean(name, this.#expanded(name));
	}

	/** The value of a time parameter, in seconds. */
	seconds(name: NameOf<'time'>): Seconds {
		return toSeconds(name, this.#expanded(name), parameterOf(name));
	}

	/**
	 * Converts all parameters, so that a bad value is found when the process starts, as with stock.
	 *
	 * @throws {ConfigurationError} for the first bad value.
	 */
	check(): void {
		this.checkCompatibilityLevel();
		facilityNumber(this.string('syslog_facility'), this.configDirectory);
		for (const name of parameterNames) {
			if (this.has(name)) {
				this.#check(name);
			}
		}
	}

	#check(name: ParameterName): void {
		const value = this.#expanded(name);
		const limits = this.#limits(name);
		switch (limits.type) {
			case 'string':
				toText(name, value, limits);
				break;
			case 'integer':
				toInteger(name, value, limits);
				break;
			case 'boolean':
				toBoolean(name, value);
				break;
			case 'time':
				toSeconds(name, value, limits);
				break;
		}
	}

	/**
	 * Checks compatibility_level, which defaults of other parameters refer to. Before Postfix 3.6, the level
	 * is one number.
	 *
	 * @throws {ConfigurationError} when it is malformed.
	 */
	checkCompatibilityLevel(): void {
		const level = this.string('compatibility_level');
		if (this.features.compatibilityVersions) {
			parseLevel(level);
		} else {
			toInteger('compatibility_level', level, {min: 0});
		}
	}

	#limits(name: ParameterName): Parameter {
		const parameter = parameterOf(name);
		const {minLengthUntil} = parameter;
		return minLengthUntil !== undefined && compareReleases(this.#release, minLengthUntil) >= 0
			? {...parameter, minLength: 0}
			: parameter;
	}

	#expanded(name: ParameterName): string {
		const value = this.#values.get(name);
		if (value !== undefined) {
			return expand(value, other => this.#values.get(other));
		}

		if (isIn(this.#release, parameterOf(name))) {
			throw new ConfigurationError(`postconf: unknown parameter: ${name}`);
		}

		throw new Panic(`Postfix ${this.#release} has no parameter ${name}`);
	}
}
