-- What the writer asks about rows. Bodies in SQL-standard form are parsed here and now, so that no caller's search_path can change
-- what they mean (https://www.postgresql.org/docs/current/sql-createfunction.html). All of them take what a hand left in the mirror:
-- nulls, scalars, objects, arrays of anything.

-- Whether two values of `attributes` are equal but for the order of the array's elements. Never null.
create function cognito_feed.same_attributes(a jsonb, b jsonb) returns boolean
language sql immutable parallel safe
return case
  when a is not distinct from b then true
  when a is null or b is null then false
  when jsonb_typeof(a) <> 'array' or jsonb_typeof(b) <> 'array' then false
  when jsonb_array_length(a) <> jsonb_array_length(b) then false
  else (select jsonb_agg(element order by element) from jsonb_array_elements(a) element)
     = (select jsonb_agg(element order by element) from jsonb_array_elements(b) element)
end;

-- The identity in a row's attributes: the value of the first `sub` that is a non-empty string, else null. Strict mode with errors
-- silenced: what is no array, or no object in it, has none.
create function cognito_feed.sub_of(attributes jsonb) returns text
language sql immutable parallel safe
return jsonb_path_query_first(attributes, 'strict $[*] ? (@.sub.type() == "string" && @.sub != "").sub', '{}', true) #>> '{}';

-- What differs between two rows as to_jsonb gives them: names of the columns but `attributes`, in the table's order, then
-- `attributes.NAME` for each attribute added, removed or changed, in byte order. Never null.
create function cognito_feed.changed_columns(old jsonb, new jsonb) returns text[]
language sql immutable parallel safe
return (
  with sides (side, attributes) as (
    values ('old', case when jsonb_typeof(old -> 'attributes') = 'array' then old -> 'attributes' else '[]' end),
           ('new', case when jsonb_typeof(new -> 'attributes') = 'array' then new -> 'attributes' else '[]' end)
  ), attributes (name, before, after) as (
    select attribute.key,
      jsonb_agg(attribute.value order by attribute.value) filter (where sides.side = 'old'),
      jsonb_agg(attribute.value order by attribute.value) filter (where sides.side = 'new')
    from sides,
      jsonb_array_elements(sides.attributes) element,
      jsonb_each(case when jsonb_typeof(element) = 'object' then element else '{}' end) attribute
    group by attribute.key
  ), changed (name, place) as (
    select columns.name, columns.place
    from unnest(array['username', 'email', 'status', 'enabled', 'created_at', 'updated_at']) with ordinality columns (name, place)
    where (old -> columns.name) is distinct from (new -> columns.name)
    union all
    select 'attributes.' || attributes.name, 7
    from attributes
    where attributes.before is distinct from attributes.after
  )
  select coalesce(array_agg(changed.name order by changed.place, changed.name collate "C"), '{}') from changed
);
