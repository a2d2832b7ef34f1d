import test from 'ava';
import {releaseFeatures} from '../../src/conf/release.ts';
import {AttributeFramer} from '../../src/wire/attribute-list.ts';
import {type ClientSettings, ClientSettingsParser} from '../../src/wire/client-settings.ts';
import {FormatError} from '../../src/wire/field.ts';
import {recordedSettings} from '../helpers/client.ts';
import {printClientSettings} from '../helpers/wire.ts';

const features = releaseFeatures('3.11.0');
const recorded = recordedSettings(features);

function bytesFor(host: string, settings: ClientSettings = recorded): Buffer {
	return Buffer.from(
		printClientSettings({...settings, start: {...settings.start, host, nexthop: host}}, features),
	);
}

/** Parses bytes as a session does: the known prefix first, then the rest. */
function parse(parser: ClientSettingsParser, bytes: Buffer): ClientSettings {
	const known = parser.recognize(bytes);
	const framed = new AttributeFramer().push(bytes.subarray(known?.taken ?? 0));
	return parser.parse(framed?.list ?? [], known?.common);
}

test('requests that begin with the same bytes share the objects that these encode', t => {
	const parser = new ClientSettingsParser(features);
	t.is(parser.recognize(bytesFor('first.example')), undefined);
	const first = parse(parser, bytesFor('first.example'));
	const second = parse(parser, bytesFor('second.example'));
	t.is(first.params, second.params);
	t.is(first.init, second.init);
	t.is(first.start.host, 'first.example');
	t.is(second.start.host, 'second.example');
	t.deepEqual(first.params, recorded.params);
	t.deepEqual(second.start, {...recorded.start, host: 'second.example', nexthop: 'second.example'});
});

test('a request that differs in one of them is parsed anew', t => {
	const parser = new ClientSettingsParser(features);
	parse(parser, bytesFor('first.example'));
	const changed = {...recorded, init: {...recorded.init, mdalg: 'sha512'}};
	t.is(parser.recognize(bytesFor('first.example', changed)), undefined);
	t.is(parse(parser, bytesFor('first.example', changed)).init.mdalg, 'sha512');
	t.is(parse(parser, bytesFor('first.example')).init.mdalg, recorded.init.mdalg);
});

test('a prefix that has been received in part is not recognized', t => {
	const parser = new ClientSettingsParser(features);
	const bytes = bytesFor('first.example');
	parse(parser, bytes);
	const {taken = 0} = parser.recognize(bytes) ?? {};
	t.true(taken > 0 && taken < bytes.length);
	t.is(parser.recognize(bytes.subarray(0, taken - 1)), undefined);
	t.is(parser.recognize(bytes.subarray(0, taken))?.taken, taken);
});

test('16 prefixes are remembered, and the least recently used one is dropped', t => {
	const parser = new ClientSettingsParser(features);
	const bytes = Array.from({length: 17}, (_, index) =>
		bytesFor('host.example', {...recorded, init: {...recorded.init, log_level: String(index)}}),
	);
	const [first = Buffer.alloc(0)] = bytes;
	for (const some of bytes) {
		/* The first one is used again and again, so that the second one is dropped. */
		parse(parser, first);
		parse(parser, some);
	}

	t.deepEqual(
		bytes.map(some => parser.recognize(some) !== undefined),
		bytes.map((_, index) => index !== 1),
	);
});

test('settings that are cut off are rejected and not remembered', t => {
	const parser = new ClientSettingsParser(features);
	const framed = new AttributeFramer().push(bytesFor('host.example'));
	t.throws(() => parser.parse((framed?.list ?? []).slice(0, -1)), {instanceOf: FormatError});
	t.is(parser.recognize(bytesFor('host.example')), undefined);
});
