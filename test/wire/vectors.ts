/*
 * Recorded messages of stock daemons of nine releases. If one of these tests fails, this
 * program cannot serve clients of that release, whose mail is then deferred or sent in
 * cleartext.
 */
import {readdirSync, readFileSync} from 'node:fs';
import test from 'ava';
import {releaseFeatures} from '../../src/conf/release.ts';
import {AttributeFramer, type AttributeList} from '../../src/wire/attribute-list.ts';
import {ClientSettingsParser} from '../../src/wire/client-settings.ts';
import {printReport} from '../../src/wire/handshake-report.ts';
import {greeting, parseRequest, printStatus} from '../../src/wire/request.ts';
import {parseServerSettings} from '../../src/wire/server-settings.ts';
import {parseReport, printClientSettings, printRequest, printServerSettings} from '../helpers/wire.ts';

type Range = readonly [start: number, end: number];

interface Recorded {
	readonly name: string;
	readonly role: 'client' | 'server';
	readonly to_proxy: {readonly file: string; readonly request: Range; readonly settings?: Range | null};
	readonly from_proxy: {
		readonly file: string;
		readonly greeting?: Range | null;
		readonly status: Range;
		readonly context?: Range | null;
	};
	readonly decoded: {
		readonly settings?: Readonly<Record<string, unknown>>;
		readonly context?: Readonly<Record<string, unknown>> | ReadonlyArray<readonly [string, unknown]>;
	};
}

const root = new URL('../fixtures/vectors/', import.meta.url);

const sessions = readdirSync(root).flatMap(directory => {
	const folder = new URL(`${directory}/`, root);
	const manifest = JSON.parse(readFileSync(new URL('manifest.json', folder), 'utf8')) as {
		readonly sessions: readonly Recorded[];
	};
	const release = directory.replace('postfix-', '');
	return manifest.sessions.map(recorded => ({
		title: `${release} ${recorded.name}`,
		features: releaseFeatures(release),
		recorded,
		bytes: (file: string, [start, end]: Range) => readFileSync(new URL(file, folder)).subarray(start, end),
	}));
});

function listOf(bytes: Uint8Array): AttributeList {
	const framed = new AttributeFramer().push(bytes);
	if (framed === undefined || framed.taken !== bytes.length) {
		throw new Error('the bytes are not one list');
	}

	return framed.list;
}

test('no recorded session is missing', t => {
	t.is(new Set(sessions.map(({features}) => features.release)).size, 9);
	t.is(sessions.length, 195);
	t.is(sessions.filter(({recorded}) => recorded.from_proxy.context).length, 153);
});

for (const {title, features, recorded, bytes} of sessions) {
	test(`a request is parsed and printed to the same bytes: ${title}`, t => {
		const wire = bytes(recorded.to_proxy.file, recorded.to_proxy.request);
		const request = parseRequest(listOf(wire), features);
		t.is(request.role, recorded.role);
		t.deepEqual(Buffer.from(printRequest(request, features)), wire);
	});

	const {settings} = recorded.to_proxy;
	if (settings) {
		test(`settings are parsed and printed to the same bytes: ${title}`, t => {
			const wire = bytes(recorded.to_proxy.file, settings);
			if (recorded.role === 'client') {
				const parsed = new ClientSettingsParser(features).parse(listOf(wire));
				t.like(parsed.params, recorded.decoded.settings?.['client_params'] as object);
				t.like(parsed.init, recorded.decoded.settings?.['client_init'] as object);
				t.deepEqual(Buffer.from(printClientSettings(parsed, features)), wire);
			} else {
				const parsed = parseServerSettings(listOf(wire), features);
				t.deepEqual(Buffer.from(printServerSettings(parsed, features)), wire);
			}
		});
	}

	test(`greeting and status are the bytes of stock: ${title}`, t => {
		const recordedGreeting = recorded.from_proxy.greeting;
		const ours = greeting(features);
		t.deepEqual(
			ours === undefined ? undefined : Buffer.from(ours),
			recordedGreeting ? bytes(recorded.from_proxy.file, recordedGreeting) : undefined,
		);
		const status = bytes(recorded.from_proxy.file, recorded.from_proxy.status);
		t.deepEqual(Buffer.from(printStatus(recorded.name.endsWith('role-disabled') ? 0 : 1)), status);
	});

	const {context: report} = recorded.from_proxy;
	if (report) {
		test(`a report is parsed and printed to the same bytes: ${title}`, t => {
			const wire = bytes(recorded.from_proxy.file, report);
			t.deepEqual(Buffer.from(printReport(parseReport(listOf(wire), features), features)), wire);
		});
	}
}
