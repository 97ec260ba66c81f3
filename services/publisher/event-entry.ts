/** A change as an entry of PutEvents, and how entries share a request. Pure. */
import { changeDetail, type LoggedChange } from '../../shared/change-log.ts';

export interface EventEntry {
  readonly EventBusName: string;
  readonly Source: string;
  readonly DetailType: string;
  readonly Detail: string;
  readonly Time: Date;
}

export interface EventSettings {
  readonly busName: string;
  readonly source: string;
  /** Whether the rows go along. */
  readonly values: boolean;
}

/** PutEvents, API reference: entries of a request. */
export const MOST_ENTRIES = 10;
/**
 * Of one entry, and of a request: "under 1 MB in all". It was 256 KB until 2025, and still is where AWS has not caught up; so entries share a
 * request only as far as that goes, and one that is larger travels alone.
 */
export const MOST_ENTRY_BYTES = 1_000_000;
export const SHARED_BYTES = 256_000;

const DETAIL_TYPES = {
  read: 'Cognito User Inserted',
  insert: 'Cognito User Inserted',
  update: 'Cognito User Updated',
  delete: 'Cognito User Deleted',
} as const;

export function eventEntry(change: LoggedChange, { busName, source, values }: EventSettings): EventEntry {
  return {
    EventBusName: busName,
    Source: source,
    DetailType: DETAIL_TYPES[change.op],
    Detail: JSON.stringify(changeDetail(change, values)),
    Time: change.committedAt,
  };
}

/** As AWS counts: 14 for the time, and the UTF-8 of source, detail type and detail (EventBridge user guide, "PutEvents event entry size"). */
export function entryBytes({
  Source,
  DetailType,
  Detail,
}: Pick<EventEntry, 'Source' | 'DetailType' | 'Detail'>): number {
  return 14 + Buffer.byteLength(Source) + Buffer.byteLength(DetailType) + Buffer.byteLength(Detail);
}

/** Places of entries, in their order, request by request. @param sizes as `entryBytes` gives them, each at most MOST_ENTRY_BYTES */
export function requests(sizes: readonly number[]): number[][] {
  const packed: number[][] = [];
  let bytes = 0;
  sizes.forEach((size, place) => {
    const last = packed.at(-1);
    if (last === undefined || last.length === MOST_ENTRIES || bytes + size > SHARED_BYTES) {
      packed.push([place]);
      bytes = size;
    } else {
      last.push(place);
      bytes += size;
    }
  });
  return packed;
}
