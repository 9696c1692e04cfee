# Makes a JSON Schema of two OCSF classes from the definitions of ocsf-schema, limited to the objects named.
import json,os,sys
root=sys.argv[1]
def load(p): return json.load(open(os.path.join(root,p)))
dic=load('dictionary.json'); types=dic['types']['attributes']; attrs=dic['attributes']
def find(kind,name):
    for d,_,fs in os.walk(os.path.join(root,kind)):
        for f in fs:
            if f.endswith('.json'):
                j=json.load(open(os.path.join(d,f)))
                if j.get('name')==name: return j
    raise KeyError(name)
KEEP={'metadata','product','finding_info','compliance','check','remediation','resource_details','evidences','observable','analytic','kb_article','fingerprint','policy'}
OBJ={}
def resolve(kind,name):
    j=find(kind,name) if name!='base_event' else load('events/base_event.json')
    a={}
    if 'extends' in j: a=dict(resolve(kind,j['extends']))
    for k,v in j.get('attributes',{}).items():
        if k in('$include',): continue
        if not isinstance(v,dict): continue
        if v.get('profile'): continue
        a[k]={**a.get(k,{}),**v}
        if 'enum' in v and 'enum' in a.get(k,{}): a[k]['enum']={**a[k].get('enum',{}),**v['enum']}
    for inc in (j.get('attributes',{}).get('$include') or []):
        pass
    return a
def schema_type(t):
    base=t
    while base in types and 'type' in types[base]: base=types[base]['type']
    out={'integer_t':{'type':'integer'},'long_t':{'type':'integer'},'float_t':{'type':'number'},'boolean_t':{'type':'boolean'},'string_t':{'type':'string'},'json_t':{}}[base]
    out=dict(out)
    if types.get(t,{}).get('regex') and t in('uuid_t',): out['pattern']=types[t]['regex']
    if t=='datetime_t': out['format']='date-time'
    if t=='timestamp_t': out['minimum']=0
    return out
def build(kind,name,extra=None):
    a=resolve(kind,name); props={}; req=[]
    for k,v in sorted(a.items()):
        d=attrs.get(k)
        if not d: continue
        t=v.get('type') or d['type']
        if t=='object_t' or t not in types:
            o=v.get('object_type') or d.get('object_type') or t
            if o in KEEP:
                need(o); s={'$ref':'#/$defs/'+o}
            elif o=='object' or k=='unmapped': s={'type':'object'}
            else:
                if v.get('requirement')=='required': raise SystemExit(f'{name}.{k} needs {o}')
                continue
        else: s=schema_type(t)
        en=dict(d.get('enum',{})); en.update(v.get('enum',{}))
        if en and s.get('type')=='integer': s['enum']=sorted(int(x) for x in en)
        if d.get('is_array') or v.get('is_array'): s={'type':'array','items':s}
        props[k]=s
        if v.get('requirement')=='required': req.append(k)
    return {'type':'object','additionalProperties':False,'properties':props,'required':sorted(req)}
def need(o):
    if o in OBJ: return
    OBJ[o]=None; OBJ[o]=build('objects',o)
classes={}
cat=2
for n in('compliance_finding','detection_finding'):
    j=find('events',n); c=build('events',n); uid=cat*1000+j['uid']
    c['properties']['class_uid']={'const':uid}; c['properties']['category_uid']={'const':cat}
    acts=c['properties']['activity_id']['enum']
    c['properties']['type_uid']={'enum':[uid*100+x for x in acts]}
    classes[n]=c
print(json.dumps({'$schema':'https://json-schema.org/draft/2020-12/schema','title':'Compliance Finding and Detection Finding of OCSF','oneOf':[{'$ref':'#/$defs/compliance_finding'},{'$ref':'#/$defs/detection_finding'}],'$defs':{**classes,**OBJ}},sort_keys=True,separators=(',',':')))
